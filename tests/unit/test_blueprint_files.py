"""Subgraph blueprints as they are described, and the files that were made of the descriptions."""

import json

import pytest

from comfyui_runtime import ROOT
from iqa_adapter.documentation.blueprint_files import blueprint_of, modules


@pytest.mark.parametrize("module", modules())
def test_a_blueprint_is_one_node_with_the_described_sockets_and_widgets(module):
    blueprint = blueprint_of(module)
    made = json.loads((ROOT / "subgraphs" / f"{blueprint.name}.json").read_text(encoding="utf-8"))
    (outside,), (inside,) = made["nodes"], made["definitions"]["subgraphs"]
    assert outside["type"] == inside["id"] and outside["title"] == inside["name"] == blueprint.name
    assert [slot["name"] for slot in inside["inputs"]] == list(blueprint.inputs)
    assert [slot["name"] for slot in inside["outputs"]] == list(blueprint.outputs)
    assert all(slot["linkIds"] for slot in (*inside["inputs"], *inside["outputs"]))
    types = {str(node["id"]): node["type"] for node in inside["nodes"]}
    shown = [(types[number], name) for number, name in outside["properties"]["proxyWidgets"]]
    assert shown == [(node.type, name) for node, name in blueprint.widgets]


def test_every_blueprint_is_described():
    files = {path.stem for path in (ROOT / "subgraphs").glob("*.json")}
    assert files == {blueprint_of(module).name for module in modules()}
