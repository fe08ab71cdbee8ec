"""Subgraph blueprints as a person finds them: in the search box, and at work in a graph."""

import pytest
from front_end_page import MINUTE, open_search

NAMES = ("Quality", "Quality from Picture", "Score and Select")

INSIDE = "app.graph._nodes.flatMap(node => node.subgraph ? node.subgraph._nodes.map(each => each.type) : [])"
WIDGETS = "app.graph._nodes.flatMap(node => node.subgraph ? node.widgets.map(each => each.name) : [])"
AROUND = """([before, after]) => {  // a node before each of its inputs, and one behind its first output
  const blueprint = app.graph._nodes.find(node => node.subgraph);
  before.forEach(([type, slot], index) => {
    const node = LiteGraph.createNode(type);
    app.graph.add(node);
    node.connect(slot, blueprint, index);
  });
  const node = LiteGraph.createNode(after);
  app.graph.add(node);
  blueprint.connect(0, node, node.inputs.findIndex(({ type }) => type === blueprint.outputs[0].type));
}"""
SHOWN = {
    "Quality": ["adapter_name", "quality", "aesthetics", "strength"],
    "Quality from Picture": ["adapter_name", "metric", "strength"],
    "Score and Select": ["metric", "download_if_missing", "count"],
}
SURROUNDED = {
    "Quality": ([("IQAQuickstartModel", 0)], "KSampler"),
    "Quality from Picture": ([("IQAQuickstartModel", 0), ("IQAQuickstartPicture", 0)], "KSampler"),
    "Score and Select": ([("LoadImage", 0)], "PreviewImage"),
}
LISTED = """name => [...document.querySelectorAll("[role=option], [data-testid=result-item]")]
  .find(each => each.innerText.trim().split("\\n")[0].trim() === name)"""


def test_the_server_lists_them(server):
    listed = server.get("/global_subgraphs").values()
    ours = {entry["name"] for entry in listed if entry["info"]["node_pack"].endswith("ComfyUI-IQA-Adapter")}
    assert ours == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_it_is_found_and_carries_its_parts(page, name):
    add(page, name)
    assert len(page.evaluate(INSIDE)) >= 3
    widgets = [each.split(": ")[-1] for each in page.evaluate(WIDGETS)]  # 0.3.75 numbers the nodes before them
    assert widgets == SHOWN[name]
    page.evaluate(AROUND, list(SURROUNDED[name]))
    prompt = page.evaluate("app.graphToPrompt().then(({ output }) => output)")
    linked = {node["class_type"]: node["inputs"] for node in prompt.values()}
    last = {"KSampler": "model", "PreviewImage": "images"}[SURROUNDED[name][1]]
    source = linked[SURROUNDED[name][1]][last][0]
    assert prompt[source]["class_type"] == ("IQASelectBest" if name == "Score and Select" else "IQAAdapterApply")
    if name == "Score and Select":
        page.evaluate("app.queuePrompt(0)")
        shown = "app.graph._nodes.some(node => node.type === 'PreviewImage' && node.imgs?.[0]?.naturalWidth)"
        page.wait_for_function(shown, timeout=2 * MINUTE)
    assert page.errors == []


def add(page, name: str) -> None:
    """The blueprint in an empty graph, from the search box."""
    open_search(page, name)
    page.wait_for_function(LISTED, arg=name, timeout=MINUTE).as_element().click()
    page.wait_for_function("app.graph._nodes.some(node => node.subgraph)", timeout=MINUTE)
