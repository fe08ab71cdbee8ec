"""The workflows as a person opens them: from the template browser of the real front end, in a real browser."""

import json

import pytest

import comfyui_runtime

WORKFLOWS = comfyui_runtime.ROOT / "workflows"
NAMES = sorted(path.stem for path in WORKFLOWS.glob("*.json"))
PACK = "ComfyUI-IQA-Adapter"
MINUTE = 60_000  # milliseconds

GRAPH_IS_THERE = "title => app.graph._nodes.some(node => node.title === title)"
UNKNOWN_NODES = "app.graph._nodes.map(node => node.type).filter(type => !(type in LiteGraph.registered_node_types))"
OVERLAPS = """() => {
  const boxes = app.graph._nodes.map(node => [node.title, node.boundingRect ?? node.getBounding()]);
  return boxes.flatMap(([a, p], i) => boxes.slice(i + 1)
    .filter(([_, q]) => p[0] < q[0] + q[2] && q[0] < p[0] + p[2] && p[1] < q[1] + q[3] && q[1] < p[1] + p[3])
    .map(([b]) => `${a} / ${b}`));
}"""
SHORTER = """() => {  // a training that shows everything, but in seconds
  const values = {count: 8, steps: 4, batch_size: 1, sample_interval: 2, settings: "sample_steps: 2"};
  for (const node of app.graph._nodes)
    for (const widget of node.type.match(/Train/) ? node.widgets : [])
      if (widget.name in values) widget.value = values[widget.name];
}"""
PICTURE_IS_SHOWN = """title => app.graph._nodes.find(node => node.title === title)
  .imgs?.some(picture => picture.complete && picture.naturalWidth > 0)"""


def api_form(name: str) -> dict:
    return json.loads((WORKFLOWS / "api" / f"{name}.json").read_text())


def open_template(page, name: str) -> None:
    page.evaluate("app.extensionManager.command.execute('Comfy.BrowseTemplates')")
    page.get_by_text(PACK, exact=True).first.click(timeout=MINUTE)
    page.locator(f"[data-testid='template-workflow-{name}']").click(timeout=MINUTE)
    page.wait_for_function(GRAPH_IS_THERE, arg=next(iter(api_form(name).values()))["_meta"]["title"], timeout=MINUTE)


def test_every_workflow_has_both_forms():
    assert sorted(path.stem for path in (WORKFLOWS / "api").glob("*.json")) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_opened_from_the_template_browser_it_runs(page, name):
    open_template(page, name)
    assert page.evaluate(UNKNOWN_NODES) == []
    assert page.evaluate(OVERLAPS) == []
    assert page.evaluate("app.graphToPrompt().then(prompt => prompt.output)") == api_form(name)
    page.evaluate(SHORTER)
    page.get_by_test_id("queue-button").get_by_role("button").first.click()
    saved = [node["_meta"]["title"] for node in api_form(name).values() if node["class_type"] == "SaveImage"]
    for title in saved:
        page.wait_for_function(PICTURE_IS_SHOWN, arg=title, timeout=5 * MINUTE)
    assert saved and not page.errors, page.errors


def test_the_training_node_shows_samples_and_loss_when_it_has_ended(page):
    open_template(page, "train_score_adapter")
    page.evaluate(SHORTER)
    train = "app.graph._nodes.find(node => node.type === 'IQAAdapterTrain')"
    page.evaluate(f"{train}.widgets.find(widget => widget.name === 'name').value = 'shown'")  # so that it trains
    page.evaluate("app.queuePrompt(0, 1)")
    page.wait_for_function(PICTURE_IS_SHOWN, arg="Save the samples", timeout=5 * MINUTE)
    heights = f"{train}.imgs.map(picture => picture.naturalHeight)"
    page.wait_for_function(f"{heights}.some(height => height > 440)", timeout=MINUTE)  # of the plot, and samples above
