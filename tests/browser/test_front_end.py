"""What the script adds to the front end, in the classic view and in Nodes 2.0."""

from pathlib import Path

import pytest
from front_end_page import MINUTE, SEARCHING, VIEW, open_search

import comfyui_runtime

TYPES = ("IQA_ADAPTER", "IQA_EMBEDS", "IQA_MODEL", "IQA_SCORES", "IQA_FEATURES")
FOLDER = f"/extensions/{comfyui_runtime.pack_folder().name}/"
PURE_FUNCTIONS = (Path(__file__).parent / "pure_functions.js").read_text()

RUN_PURE = """async ([source, folder]) => {
  const { default: run } = await import(URL.createObjectURL(new Blob([source], { type: "text/javascript" })));
  return run(name => import(location.origin + folder + name));
}"""
ADD = """async types => {
  app.graph.clear();
  const nodes = types.map(type => LiteGraph.createNode(type));
  let x = 420;
  for (const node of nodes) {
    node.pos = [x, 160];
    app.graph.add(node);
    x += node.size[0] + 60;
  }
  app.canvas.ds.offset = [0, 0];
  app.canvas.ds.scale = 1;
  app.canvas.setDirty(true, true);
  const modern = app.extensionManager.setting.get("Comfy.VueNodes.Enabled");
  const drawn = () => !modern || document.querySelectorAll("[data-node-id]").length === nodes.length;
  const frame = () => new Promise(done => requestAnimationFrame(done));
  do { await frame(); await frame(); } while (!drawn());
  return nodes.map(node => String(node.id));
}"""
SCORE = {
    "1": {"class_type": "LoadImage", "inputs": {"image": "example.png"}},
    "2": {"class_type": "IQAModelLoader", "inputs": {"metric": "piqe", "download_if_missing": False}},
    "3": {
        "class_type": "IQAScoreImages",
        "inputs": {"iqa_model": ["2", 0], "images": ["1", 0], "protocol": "as is", "batch_size": 0},
    },
}
DOTS = """() => [...document.querySelectorAll('.slot-dot')].filter(dot => !dot.closest('.lg-node-widget'))
  .map(dot => getComputedStyle(dot)).map(style => style.backgroundImage + style.backgroundColor)"""
PANELS = """() => [...document.querySelectorAll('.iqaadapter-panel')]
  .filter(panel => panel.checkVisibility()).map(panel => panel.shadowRoot.textContent).filter(text => text)"""


@pytest.fixture(params=[False, True], ids=["classic", "nodes 2.0"])
def view(page, request):
    page.evaluate(VIEW, request.param)
    return page


def test_pure_functions(page):
    assert page.evaluate(RUN_PURE, [PURE_FUNCTIONS, FOLDER]) == []


def test_the_script_uses_no_internal_or_deprecated_module(page):
    marks = ("is an internal module", "Importing from", "iqaadapter", "IQA-Adapter")
    assert not [text for text in page.said if any(mark in text for mark in marks)]


def test_every_type_has_a_colour(view):
    view.evaluate("app.extensionManager.setting.set('Comfy.ColorPalette', 'light')")
    view.evaluate(ADD, ["IQAQualityEmbed", "IQAScoreImages", "IQAReferenceEmbed", "IQAQualitySweep"])
    for table in ("app.canvas.default_connection_color_byType", "LGraphCanvas.link_type_colors"):
        colours = view.evaluate(f"types => types.map(type => {table}[type])", TYPES)
        assert len(set(colours)) == len(TYPES) and all(colours)
    assert "nonergba(0, 0, 0, 0)" not in view.evaluate(DOTS)
    view.evaluate("app.extensionManager.setting.set('Comfy.ColorPalette', 'dark')")


def run(page, workflow: dict) -> None:
    """Open a workflow in a tab of its own and run it to the end."""
    page.evaluate("workflow => app.loadApiJson(workflow, 'scores')", workflow)
    page.wait_for_function("app.graph._nodes.length === 3", timeout=MINUTE)
    page.evaluate("app.queuePrompt(0)")


def new_tab(page) -> None:
    page.evaluate("app.extensionManager.command.execute('Comfy.NewBlankWorkflow')")
    page.wait_for_function("app.graph._nodes.length === 0", timeout=MINUTE)


def back(page) -> None:
    page.locator(".workflow-tabs .p-togglebutton", has_text="scores").click()
    page.wait_for_function("app.graph._nodes.length === 3", timeout=MINUTE)


def wait_for_table(page) -> None:
    page.wait_for_function(f"({PANELS})().some(text => text.includes('piqe'))", timeout=2 * MINUTE)


def wait_for_runs(server, count: int, page) -> None:
    for _ in range(600):
        history = server.get("/history")
        if len(history) >= count and all(run["status"]["completed"] for run in history.values()):
            return
        page.wait_for_timeout(200)
    raise TimeoutError(f"{count} runs did not end")


def test_scores_stay(view, server, screenshots):
    run(view, SCORE)
    wait_for_table(view)
    assert "\u2193" in view.evaluate(PANELS)[0]
    new_tab(view)
    assert view.evaluate(PANELS) == []
    back(view)
    wait_for_table(view)
    view.screenshot(path=screenshots / "scores.png")
    view.reload()
    view.wait_for_function("window.app?.graph?._nodes.length === 3", timeout=2 * MINUTE)
    wait_for_table(view)


def test_scores_of_a_run_in_the_background(view, server):
    before = len(server.get("/history"))
    run(view, SCORE | {"2": {"class_type": "IQAModelLoader", "inputs": {"metric": "entropy"}}})
    new_tab(view)
    view.evaluate(ADD, ["IQAScoreImages", "IQAScoreImages", "IQAScoreImages"])  # one of them has the number 3
    wait_for_runs(server, before + 1, view)
    view.wait_for_timeout(500)
    assert view.evaluate(PANELS) == []
    view.evaluate("app.graph.clear()")
    back(view)
    view.wait_for_function(f"({PANELS})().some(text => text.includes('entropy'))", timeout=MINUTE)


@pytest.mark.parametrize("node", ["IQAQualityEmbed", "IQAQuality"])
def test_quality_pad(view, node):
    if not view.evaluate("node => node in LiteGraph.registered_node_types", node):
        pytest.skip(f"{node} is not there")
    (number,) = view.evaluate(ADD, [node])
    values = """() => { const node = app.graph._nodes[0];
      return ["quality", "aesthetics"].map(name => node.widgets.find(widget => widget.name === name).value); }"""
    square = view.locator(".iqaadapter-panel .square")
    square.click(position={"x": 32, "y": 96})
    assert view.evaluate(values) == [pytest.approx(25, abs=2), pytest.approx(25, abs=2)]
    box = square.bounding_box()
    view.mouse.move(box["x"] + 32, box["y"] + 96)
    view.mouse.down()
    view.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 4, steps=4)
    view.mouse.up()
    assert view.evaluate(values) == [pytest.approx(75, abs=2), pytest.approx(50, abs=2)]
    quality, aesthetics = view.evaluate(values)
    square.press("ArrowUp")
    square.press("Shift+ArrowLeft")
    assert view.evaluate(values) == [quality + 1, aesthetics - 10]
    view.evaluate("""() => { const widget = app.graph._nodes[0].widgets.find(({ name }) => name === "quality");
      widget.value = 3; widget.callback(3); }""")
    assert "3 %very poor" in view.evaluate(PANELS)[0]
    prompt = view.evaluate("app.graphToPrompt().then(({ output }) => output)")[number]["inputs"]
    assert "quality_pad" not in prompt and prompt["quality"] == 3
    assert view.evaluate("app.graph.serialize().nodes[0].widgets_values.length") == view.evaluate(
        "app.graph._nodes[0].widgets.filter(widget => widget.serialize !== false).length"
    )


FOUND = {
    "aesthetic": ("IQAQuality", "IQAQualityEmbed"),
    "degrade": ("IQADistortImages",),
    "restore": ("IQAQuality", "IQAQualityEmbed"),
    "blur": ("IQADistortImages",),
    "jpeg": ("IQADistortImages",),
    "noise": ("IQADistortImages",),
    "metric": ("IQAModelLoader",),
    "percentile": ("IQAQualityEmbed",),
    "xy": ("IQAQualitySweep",),
    "score": ("IQAScoreImages",),
    "best of": ("IQASelectBest",),
}
FOREIGN = {"blur", "noise"}  # core has nodes of these names, and they stay first
FINDS = """([wanted, ours, afterOthers]) => {  // the first of our nodes is the wanted one, and stands first
  const listed = [...document.querySelectorAll("[role=option], [data-testid=result-item]")];
  const names = listed.map(each => each.innerText.trim()).filter(name => name);
  const first = names.findIndex(name => ours.some(title => name.includes(title)));
  return first >= 0 && names[first].includes(wanted) && (afterOthers || first === 0);
}"""


def test_search(page):
    titles = page.evaluate("""Object.fromEntries(Object.entries(LiteGraph.registered_node_types)
      .filter(([name]) => name.startsWith("IQA")).map(([name, type]) => [name, type.title]))""")
    for words, right in FOUND.items():
        wanted = [titles[name] for name in right if name in titles]
        if not wanted:
            continue
        open_search(page, words)
        page.wait_for_function(FINDS, arg=[wanted[0], list(titles.values()), words in FOREIGN], timeout=MINUTE // 3)
        page.keyboard.press("Escape")
        page.wait_for_function(f"!({SEARCHING})")


COMPARE = {
    "1": SCORE["1"],
    "2": {"class_type": "IQADistortImages", "inputs": {"images": ["1", 0], "kind": "blur", "severity": 1.0, "seed": 0}},
    "3": {"class_type": "IQACompare", "inputs": {"before": ["1", 0], "after": ["2", 0]}},
}


def test_before_and_after(view):
    run(view, COMPARE)
    viewer = view.locator(".iqaadapter-panel .pictures")
    viewer.wait_for(timeout=2 * MINUTE)
    view.wait_for_function("""() => [...document.querySelectorAll('.iqaadapter-panel')].some(panel =>
      [...panel.shadowRoot.querySelectorAll('img')].filter(picture => picture.naturalWidth).length === 2)""")
    slider = view.locator(".iqaadapter-panel input[type=range]")
    slider.fill("20")
    assert "20%" in viewer.locator("img").last.get_attribute("style")
    box = viewer.bounding_box()
    view.mouse.move(box["x"] + 0.75 * box["width"], box["y"] + box["height"] / 2)
    assert float(slider.input_value()) == pytest.approx(75, abs=2)
