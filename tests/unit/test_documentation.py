"""Pictures of README.md and docs/: there, small enough, and made of the code, weights and settings that are here."""

import json
import re
from pathlib import Path

import pytest
from code_texts import is_said_by
from PIL import Image

from iqa_adapter.documentation.digests import IMAGES, ROOT, bare, code_of, digest, kept_digests
from iqa_adapter.documentation.making import LARGEST, PICTURES

PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
README = PAGES[0].read_text(encoding="utf-8")
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)|<img[^>]* src=\"([^\"]+)\"|<a href=\"([^\"#]+)\"")


@pytest.mark.parametrize("picture", PICTURES, ids=lambda picture: picture.name)
def test_a_picture_is_not_stale(picture):
    assert kept_digests().get(picture.name) == digest(picture), (
        f"docs/images/{picture.name} is stale: its code, weights or settings have changed since it was made. "
        "Run `python iqa.py docs`."
    )


def test_pictures_are_there_and_small():
    for picture in PICTURES:
        with Image.open(IMAGES / picture.name) as image:
            image.verify()
    assert sum(path.stat().st_size for path in IMAGES.iterdir()) < LARGEST


def test_every_picture_has_a_recipe():
    names = {path.name for path in IMAGES.iterdir()} - {"digests.json"}
    assert names == {picture.name for picture in PICTURES} == kept_digests().keys()


@pytest.mark.parametrize("picture", PICTURES, ids=lambda picture: picture.name)
def test_a_digest_reaches_what_draws(picture):
    recipe = ROOT / "documentation" / f"{picture.draw.__module__.rpartition('.')[2]}.py"
    reached = {path.relative_to(ROOT).as_posix() for path in code_of(recipe)}
    assert {"adapter/attention.py", "figures/grid.py", "quickstart/sampling.py", "quickstart/model.py"} < reached
    assert picture.weights and all(path.is_file() for path in picture.weights)


def test_words_do_not_make_pictures_stale():
    source = '"""About."""\nx = "# no comment"  # a comment\n\n\ndef f():\n    """What."""\n    return x\n'
    changed = (
        '"""Other."""\n\nx = "# no comment"\n# one more\ndef f():\n    """Else,\n    longer.\n    """\n    return x\n'
    )
    assert bare(source) == bare(changed) == 'x = "# no comment"\ndef f():\n    return x'


def test_code_and_settings_make_pictures_stale():
    assert bare("x = 1\n") != bare("x = 2\n")
    picture = PICTURES[0]
    other = type(picture)(picture.name, picture.draw, {**picture.settings, "seed": -1}, picture.adapters)
    assert digest(other) != digest(picture)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_name_files_that_are_there(page):
    links = ["".join(groups) for groups in LINK.findall(page.read_text(encoding="utf-8"))]
    local = [link for link in links if "://" not in link]
    assert [link for link in local if not Path(page.parent, link).exists()] == []


def test_pages_hold_no_placeholders():
    for page in PAGES:
        assert not re.search(r"YOUR|<user>|example\.com|github\.com/iqa-adapter", page.read_text(encoding="utf-8")), (
            page
        )


def test_the_errors_of_the_readme_are_those_of_the_code():
    quoted = re.findall(r'^\| "(.+?)" \|', README.split("## Errors")[1], re.MULTILINE)
    assert len(quoted) > 10
    assert [quote for quote in quoted if not is_said_by(quote)] == []


def test_the_readme_lists_every_workflow_and_node():
    nodes = json.loads((ROOT / "locales" / "en" / "nodeDefs.json").read_text(encoding="utf-8"))
    missing = [path.stem for path in (ROOT / "workflows").glob("*.json") if f"`{path.stem}`" not in README]
    missing += [node["display_name"] for node in nodes.values() if node["display_name"] not in README]
    assert missing == []
