"""Translations: complete, in step with the nodes, and not left in English."""

import json
import re
from pathlib import Path

import english_locale
import pytest

LOCALES = english_locale.ROOT / "locales"
NAMES = {"CLIP", "VAE", "Latent"}  # the same in every language
SCRIPT = sorted((english_locale.ROOT / "web").glob("*.js"))
SPECIAL = re.compile(r"[@|]|\{(?!\w+\})")  # what vue-i18n would take for syntax


def read(language: str, file: str) -> dict:
    return json.loads((LOCALES / language / file).read_text(encoding="utf-8"))


def flat(content: dict, path: tuple = ()) -> dict[tuple, str]:
    return {
        place: text
        for key, value in content.items()
        for place, text in (flat(value, (*path, key)) if isinstance(value, dict) else {(*path, key): value}).items()
    }


def test_english_is_what_the_nodes_say():
    assert read("en", "nodeDefs.json") == english_locale.english(), "run: python tests/english_locale.py"


def test_chinese_has_every_node_input_and_output():
    chinese = flat(read("zh", "nodeDefs.json"))
    for name, node in english_locale.english().items():
        wanted = {(name, "display_name"), (name, "description")}
        for part in ("inputs", "outputs"):
            for key, texts in node[part].items():
                wanted |= {(name, part, key, "tooltip"), *([(name, part, key, "name")] if "name" in texts else [])}
        assert wanted == {place for place in chinese if place[0] == name}
    assert {place[0] for place in chinese} == set(english_locale.english())


@pytest.mark.parametrize("file", ["nodeDefs.json", "main.json"])
def test_nothing_is_left_in_english(file):
    english, chinese = flat(read("en", file)), flat(read("zh", file))
    same = {place: text for place, text in chinese.items() if text == english.get(place) and text not in NAMES}
    assert not same
    assert not {place: text for place, text in chinese.items() if not text.strip()}
    assert not [text for text in [*english.values(), *chinese.values()] if SPECIAL.search(text)]


def test_main_has_the_same_texts_in_both_languages():
    assert flat(read("en", "main.json")).keys() == flat(read("zh", "main.json")).keys()


def test_every_text_of_the_script_is_translated():
    known = read("en", "main.json")["iqaAdapter"]
    assert all(key == text for key, text in known.items())
    said = [text for path in SCRIPT for text in re.findall(r'\bsay\(\s*"([^"]+)"', path.read_text())]
    words = re.findall(r'\[\d+, "([^"]+)"\]|\?\? "([^"]+)"', (english_locale.ROOT / "web/percentiles.js").read_text())
    axes = ["quality", "aesthetics"]
    assert {*said, *axes, *("".join(found) for found in words)} == set(known)


def test_every_category_is_translated():
    from iqa_adapter.nodes import NODES

    parts = {part for node in NODES for part in node.GET_SCHEMA().category.split("/")[1:]}
    assert parts <= read("zh", "main.json")["nodeCategories"].keys()


def test_where_comfyui_looks_for_locales():
    assert {path.name for path in LOCALES.iterdir()} == {"en", "zh"}
    assert all((Path(folder) / "main.json").is_file() for folder in LOCALES.iterdir())
