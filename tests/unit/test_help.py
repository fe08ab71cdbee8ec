"""Help pages: complete, in one order in both languages, in step with the nodes, their errors and the workflows."""

import json
import re

import pytest
from code_texts import is_said_by
from PIL import Image

from iqa_adapter.documentation import node_pictures
from iqa_adapter.documentation.node_pictures import IMAGES, PAGES, ROOT
from iqa_adapter.nodes import NODES

SCHEMAS = {node.GET_SCHEMA().node_id: node.GET_SCHEMA() for node in NODES}
NAMES = sorted(SCHEMAS)
ORDER = {  # Chinese is written by numbers, so that editors with Windows' code page can open this file
    "en": ["Inputs", "Outputs", "Example", "Common mistakes", "Workflow"],
    "zh": ["\u8f93\u5165", "\u8f93\u51fa", "\u793a\u4f8b", "\u5e38\u89c1\u9519\u8bef", "\u5de5\u4f5c\u6d41"],
}
WORKFLOWS = ROOT / "workflows" / "api"
ADVANCED = {"en": "advanced", "zh": "\u9ad8\u7ea7"}
TYPES = {  # ComfyUI's own
    "MODEL": "\u6a21\u578b",
    "CONDITIONING": "\u6761\u4ef6",
    "IMAGE": "\u56fe\u50cf",
    "MASK": "\u906e\u7f69",
    "LATENT": "Latent",
}
BOTH = [(language, name) for language in ORDER for name in NAMES]
QUOTED = re.compile(r'^- "(.+?)"', re.MULTILINE)
WORKFLOW = re.compile(r"^`(\w+)`", re.MULTILINE)


def path_of(language: str, name: str):
    return PAGES / (f"{name}.md" if language == "en" else f"{name}/{language}.md")


def page(language: str, name: str) -> tuple[str, dict[str, str]]:
    """What stands above the first section, and the sections by their headings, in order."""
    head, *rest = re.split(r"^## (.+)\n", path_of(language, name).read_text(encoding="utf-8"), flags=re.MULTILINE)
    return head, dict(zip(rest[::2], rest[1::2], strict=True))


def section(language: str, name: str, number: int) -> str:
    return page(language, name)[1][ORDER[language][number]]


def listed(text: str, mark: str) -> list[tuple[str, str]]:
    """What a list explains, in order: each name between two marks at the beginning of a line, and the line's head."""
    heads = [re.split("[:\uff1a]", line[2:])[0] for line in text.splitlines() if line.startswith("- ")]
    names = re.escape(mark) + "(.+?)" + re.escape(mark)
    return [(name, head) for head in heads for name in re.findall(names, re.sub(r"[(\uff08].*?[)\uff09]", "", head))]


def texts(language: str, name: str) -> dict:
    return json.loads((ROOT / "locales" / language / "nodeDefs.json").read_text(encoding="utf-8"))[name]


def test_every_node_has_both_pages_and_nothing_else_has():
    assert sorted(path.stem for path in PAGES.glob("*.md")) == NAMES
    assert sorted(path.parent.name for path in PAGES.glob("*/zh.md")) == NAMES


@pytest.mark.parametrize(("language", "name"), BOTH)
def test_order_of_a_page(language, name):
    head, sections = page(language, name)
    assert [heading for heading in sections if heading in ORDER[language]] == ORDER[language]
    title, _, rest = head.partition("\n")
    assert title == f"# {texts(language, name)['display_name']}"
    assert re.fullmatch(rf"(?s)\n[^!#\n].+\n!\[[^\]]+\]\(images/{name}\.webp\)\n+", rest), (
        "a sentence, then the picture"
    )


@pytest.mark.parametrize(("language", "name"), BOTH)
def test_inputs_are_those_of_the_node(language, name):
    names = texts(language, name)["inputs"]
    told = listed(section(language, name, 0), {"en": "`", "zh": "**"}[language])
    assert sorted(each for each, _ in told) == sorted(names[socket.id]["name"] for socket in SCHEMAS[name].inputs)
    for socket in SCHEMAS[name].inputs:
        head = dict(told)[names[socket.id]["name"]]
        assert bool((socket.extra_dict or {}).get("advanced")) == (ADVANCED[language] in head), socket.id


@pytest.mark.parametrize(("language", "name"), BOTH)
def test_outputs_are_those_of_the_node(language, name):
    known = texts(language, name)["outputs"]
    of_type = {"en": str, "zh": lambda kind: TYPES.get(kind, kind)}[language]
    wanted = [
        known[str(place)].get("name") or of_type(output.io_type) for place, output in enumerate(SCHEMAS[name].outputs)
    ]
    assert [each for each, _ in listed(section(language, name, 1), "**")] == wanted


@pytest.mark.parametrize("name", NAMES)
def test_quoted_errors_are_those_of_the_code(name):
    quotes = QUOTED.findall(section("en", name, 3))
    assert section("en", name, 3).startswith("\n- ")
    assert [quote for quote in quotes if not is_said_by(quote)] == []
    assert QUOTED.findall(section("zh", name, 3)) == quotes


def test_a_quoted_error_that_nobody_says_is_found():
    assert is_said_by("… holds no pictures: files ending in …") and not is_said_by("… holds no pictures of cats")


@pytest.mark.parametrize("name", NAMES)
def test_the_workflow_is_there(name):
    named = WORKFLOW.findall(section("en", name, 4))
    assert named and WORKFLOW.findall(section("zh", name, 4)) == named
    there = {path.stem: path.read_text(encoding="utf-8") for path in WORKFLOWS.glob("*.json")}
    holding = [workflow for workflow, text in there.items() if f'"{name}"' in text]
    assert set(named) <= set(holding or there), "one that has the node, where there is one"


@pytest.mark.parametrize("name", NAMES)
def test_the_picture_is_there_and_not_stale(name):
    again = f"Run `python iqa.py docs --nodes {name}`."
    assert (IMAGES / f"{name}.webp").is_file(), again
    with Image.open(IMAGES / f"{name}.webp") as picture:
        picture.verify()
    assert node_pictures.kept_digests().get(name) == node_pictures.digest(name), (
        f"The picture of {name} is stale: its inputs, outputs or graph have changed since it was made. {again}"
    )


def test_pictures_are_small_and_used():
    kept = sorted(path.name for path in IMAGES.iterdir())
    assert kept == [f"{name}.webp" for name in NAMES]
    here = sum(path.stat().st_size for path in IMAGES.iterdir())
    assert here < node_pictures.LARGEST
    assert here + sum(path.stat().st_size for path in (ROOT / "docs" / "images").iterdir()) < 4_000_000
