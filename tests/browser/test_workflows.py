"""The workflows as a person opens them: from the template browser of the real front end, in a real browser."""

import json
import time

import pytest
from front_end_page import MINUTE, STILL, VIEW

import comfyui_runtime

WORKFLOWS = comfyui_runtime.ROOT / "workflows"
NAMES = sorted(path.stem for path in WORKFLOWS.glob("*.json"))
IN_NODES_2 = [  # these have every kind of node
    "flux_reference_transfer",
    "flux_search_and_guidance",
    "gradient_guidance",
    "quality_aesthetics_grid",
    "quickstart_reference_transfer",
    "reference_quality_onto_edit",
    "repair_the_worst_part",
    "train_reference_adapter",
    "two_regions_two_qualities",
    "upscale_with_quality",
]
RUN_HERE = ("quickstart_quality_sweep", "score_photo")  # tests/server runs all of them
PACK = "ComfyUI-IQA-Adapter"
READABLE = 0.8  # zoom
WINDOW = {"width": 1600, "height": 900}

NO_DIALOG = "![...document.querySelectorAll('[role=dialog]')].some(each => each.checkVisibility())"
GRAPH_IS_THERE = "title => app.graph._nodes.some(node => node.title === title)"
UNKNOWN_NODES = "app.graph._nodes.map(node => node.type).filter(type => !(type in LiteGraph.registered_node_types))"
DEPRECATED = "app.graph._nodes.filter(node => node.constructor.nodeData?.deprecated).map(node => node.type)"
OVERLAP = """boxes => boxes.flatMap(([a, p], i) => boxes.slice(i + 1)
  .filter(([_, q]) => p[0] < q[0] + q[2] && q[0] < p[0] + p[2] && p[1] < q[1] + q[3] && q[1] < p[1] + p[3])
  .map(([b]) => `${a} / ${b}`))"""
CLASSIC_BOXES = "app.graph._nodes.map(node => [node.title, [...(node.boundingRect ?? node.getBounding())]])"
MODERN_BOXES = """[...document.querySelectorAll('[data-node-id]')].map(element => {
  const { x, y, width, height } = element.getBoundingClientRect();
  return [app.graph.getNodeById(element.dataset.nodeId)?.title, [x, y, width, height]];
})"""
FIRST_STEP = """boxes => {  // which nodes of the first group cannot be seen whole
  const group = app.graph._groups[0];
  const inside = node => node.pos[0] >= group.pos[0] && node.pos[0] < group.pos[0] + group.size[0];
  const titles = app.graph._nodes.filter(inside).map(node => node.title);
  const { x, y, width, height } = app.canvas.canvas.getBoundingClientRect();
  return boxes.filter(([title, p]) => titles.includes(title)
    && !(p[0] >= x && p[1] >= y && p[0] + p[2] <= x + width && p[1] + p[3] <= y + height)).map(([title]) => title);
}"""
ON_SCREEN = """app.graph._nodes.map(node => {
  const [x, y, width, height] = node.boundingRect ?? node.getBounding(), { scale, offset } = app.canvas.ds;
  return [node.title, [(x + offset[0]) * scale, (y + offset[1]) * scale, width * scale, height * scale]];
})"""
COMPLAINTS = """[...document.querySelectorAll('.p-toast-message-error, .p-toast-message-warn')]
  .map(message => message.textContent)"""
PICTURE_IS_SHOWN = """title => app.graph._nodes.find(node => node.title === title)
  .imgs?.some(picture => picture.complete && picture.naturalWidth > 0)"""

CARD = "^='template-workflow-'"
MORE = "seen => document.querySelectorAll(`[data-testid^='template-workflow-']`).length > seen"


def api_form(name: str) -> dict:
    return json.loads((WORKFLOWS / "api" / f"{name}.json").read_text())


def open_template(page, name: str) -> None:
    page.evaluate("app.extensionManager.command.execute('Comfy.BrowseTemplates')")
    page.get_by_text(PACK, exact=True).first.click(timeout=MINUTE)
    card, cards = (page.locator(f"[data-testid{match}]") for match in (f"='template-workflow-{name}'", CARD))
    cards.first.wait_for(timeout=MINUTE)
    while not card.count() and (seen := cards.count()):  # the rest is listed when the last one is seen
        cards.last.scroll_into_view_if_needed()
        page.wait_for_function(MORE, arg=seen, timeout=MINUTE // 6)
    card.click(timeout=MINUTE)
    page.wait_for_function(GRAPH_IS_THERE, arg=next(iter(api_form(name).values()))["_meta"]["title"], timeout=MINUTE)
    page.evaluate(STILL)


def zoom(boxes: list, name: str) -> float:
    """Of what is on the screen, against the sizes that the file tells: versions scale graphs for Nodes 2.0 by 1.2."""
    saved = json.loads((WORKFLOWS / f"{name}.json").read_text())["nodes"]
    widths = {node.get("title"): node["size"][0] for node in saved}
    return min(box[2] / widths[title] for title, box in boxes if title in widths)


def show_all(page) -> None:
    """Pictures are loaded when their node is drawn."""
    page.evaluate("app.canvas.ds.scale = 0.3; app.canvas.ds.offset = [200, 400]; app.canvas.setDirty(true, true)")


def dismiss(page) -> None:
    """Close what the front end says about checkpoints that are not there."""
    page.keyboard.press("Escape")
    page.wait_for_function(NO_DIALOG, timeout=MINUTE)


def test_every_workflow_has_both_forms():
    assert sorted(path.stem for path in (WORKFLOWS / "api").glob("*.json")) == NAMES


@pytest.fixture()
def window(page):
    """The page, as large as many people's screens."""
    before = page.viewport_size
    page.set_viewport_size(WINDOW)
    yield page
    page.set_viewport_size(before)


@pytest.fixture(scope="module")
def nodes(server):
    return server.get("/object_info")


@pytest.mark.parametrize("name", NAMES)
def test_it_opens_on_its_first_step_and_is_whole(window, screenshots, nodes, name):
    check_opening(window, screenshots, nodes, name, modern=False)


@pytest.mark.parametrize("name", IN_NODES_2)
def test_so_it_does_in_nodes_2(window, screenshots, nodes, name):
    check_opening(window, screenshots, nodes, name, modern=True)


def declared(prompt: dict, nodes: dict) -> dict:
    """A prompt with the inputs that the server declares: front ends store some that they add to show results in."""
    return {
        number: node | {"inputs": {key: value for key, value in node["inputs"].items() if key in known}}
        for number, node in prompt.items()
        for known in [{key for kind in nodes[node["class_type"]]["input"].values() for key in kind}]
    }


def check_opening(window, screenshots, nodes: dict, name: str, modern: bool) -> None:
    window.evaluate(VIEW, modern)
    open_template(window, name)
    dismiss(window)
    window.screenshot(path=screenshots / f"opened {name} {'nodes 2.0' if modern else 'classic'}.png")
    window.kept = True
    boxes = window.evaluate(MODERN_BOXES if modern else CLASSIC_BOXES)
    assert len(boxes) == window.evaluate("app.graph._nodes.length")
    assert window.evaluate(OVERLAP, boxes) == []
    assert window.evaluate(FIRST_STEP, boxes if modern else window.evaluate(ON_SCREEN)) == []
    assert (zoom(boxes, name) if modern else window.evaluate("app.canvas.ds.scale")) >= READABLE
    assert window.evaluate(UNKNOWN_NODES) == window.evaluate(DEPRECATED) == []
    assert declared(window.evaluate("app.graphToPrompt().then(prompt => prompt.output)"), nodes) == declared(
        api_form(name), nodes
    )
    assert not window.evaluate("'iqaadapter_opening_view' in app.graph.extra")  # copies open as they were left
    assert window.evaluate(COMPLAINTS) == window.errors == []


@pytest.mark.parametrize("name", RUN_HERE)
def test_opened_from_the_template_browser_it_runs(page, name, capsys):
    began = time.monotonic()
    open_template(page, name)
    page.locator("[data-testid=queue-button] button, button[data-testid=queue-button]").first.click()
    show_all(page)
    saved = [node["_meta"]["title"] for node in api_form(name).values() if node["class_type"] == "SaveImage"]
    for title in saved:
        page.wait_for_function(PICTURE_IS_SHOWN, arg=title, timeout=5 * MINUTE)
    assert saved and not page.errors, page.errors
    with capsys.disabled():  # printed and not asserted, for it is the machine's
        print(f"\n{name}: the page after {page.loaded_in:.0f} s, the picture {time.monotonic() - began:.0f} s later")
    assert page.evaluate(OVERLAP, page.evaluate(CLASSIC_BOXES)) == []


SHORTER = """() => {  // a training that shows everything, but in seconds
  const values = {count: 8, steps: 4, batch_size: 1, sample_interval: 2, settings: "sample_steps: 2", name: "shown"};
  for (const node of app.graph._nodes)
    for (const widget of node.type.match(/Train/) ? node.widgets : [])
      if (widget.name in values) widget.value = values[widget.name];
}"""


def test_the_training_node_shows_samples_and_loss_when_it_has_ended(page):
    open_template(page, "train_score_adapter")
    page.evaluate(SHORTER)
    train = "app.graph._nodes.find(node => node.type === 'IQAAdapterTrain')"
    page.evaluate("app.queuePrompt(0, 1)")
    show_all(page)
    page.wait_for_function(PICTURE_IS_SHOWN, arg="Save the samples", timeout=5 * MINUTE)
    heights = f"{train}.imgs.map(picture => picture.naturalHeight)"
    page.wait_for_function(f"{heights}.some(height => height > 440)", timeout=MINUTE)  # of the plot, and samples above
