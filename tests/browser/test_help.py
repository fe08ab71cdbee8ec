"""Help, Chinese, titles and folded inputs as the front end shows them."""

import json

import pytest
import requests
from front_end_page import MINUTE, STILL, VIEW, opened

import comfyui_runtime

ROOT = comfyui_runtime.ROOT


def texts(language: str) -> dict:
    return json.loads((ROOT / "locales" / language / "nodeDefs.json").read_text(encoding="utf-8"))


NAMES = sorted(texts("en"))
ALONE = """async type => {
  app.graph.clear();
  const node = LiteGraph.createNode(type);
  node.pos = [900, 300];
  app.graph.add(node);
  app.canvas.ds.offset = [0, 0];
  app.canvas.ds.scale = 1;
  app.canvas.deselectAll();
  app.canvas.setDirty(true, true);
  const frame = () => new Promise(done => requestAnimationFrame(done));
  for (let count = 0; count < 3; count++) await frame();  // what has not been drawn yet cannot be clicked
}"""
HELP_IS_SHOWN = """title => {
  const help = [...document.querySelectorAll(".node-help-content")].find(each => each.checkVisibility());
  const pictures = [...help?.querySelectorAll("img") ?? []];
  return help?.querySelector("h1")?.textContent === title && pictures.length
    && pictures.every(picture => picture.complete && picture.naturalWidth > 200);
}"""
LABELS = """types => Object.fromEntries(types.map(type => {
  const node = LiteGraph.createNode(type);
  const slots = slots => Object.fromEntries(slots.map(slot => [slot.name, slot.label ?? slot.localized_name]));
  const widgets = Object.fromEntries((node.widgets ?? []).map(widget => [widget.name, widget.label]));
  return [type, { title: node.title, inputs: { ...slots(node.inputs ?? []), ...widgets },
                  outputs: (node.outputs ?? []).map(slot => slot.label ?? slot.localized_name) }];
}))"""
DRAWN = """() => {  // in Nodes 2.0, with their inputs
  const nodes = [...document.querySelectorAll("[data-node-id]")];
  return !app.extensionManager.setting.get("Comfy.VueNodes.Enabled")
    || nodes.length === app.graph._nodes.length && nodes.every(node => node.offsetHeight > 40);
}"""
IN_COLUMNS = """types => {  // titles only: each node begins 50 pixels below the one before
  app.graph.clear();
  // the front end of 0.3.75 keeps places and sizes of numbers that it had before
  app.graph.last_node_id = window.lastNumber = (window.lastNumber ?? 0) + 1000;
  types.forEach((type, place) => {
    const node = LiteGraph.createNode(type);
    node.pos = [420 + 480 * Math.floor(place / 12), 160 + 50 * (place % 12)];
    app.graph.add(node);
  });
  app.canvas.ds.offset = [0, 0];
  app.canvas.ds.scale = 1;
  app.canvas.setDirty(true, true);
}"""
CUT = """modern => {
  if (modern) return [...document.querySelectorAll(".lg-node [data-testid=node-title] .truncate")]
    .filter(title => title.scrollWidth > title.clientWidth).map(title => title.textContent);
  const pen = document.createElement("canvas").getContext("2d");
  const left = LiteGraph.NODE_TITLE_HEIGHT + 10;  // the dot before a title, and a margin behind it
  return app.graph._nodes.filter(node => {
    pen.font = node.titleFontStyle ?? app.canvas.title_text_font;
    return left + pen.measureText(node.getTitle()).width > node.size[0];
  }).map(node => node.title);
}"""
ADVANCED = """types => Object.fromEntries(types.map(type => {
  const node = LiteGraph.createNode(type);
  const widgets = (node.widgets ?? []).filter(widget => widget.advanced ?? widget.options?.advanced);
  return [type, widgets.map(widget => [widget.name, node.isWidgetVisible(widget), Boolean(widget.advanced)])];
}))"""
FOLDS_IN_NODES_2 = "app.extensionManager.setting.get('Comfy.Node.AlwaysShowAdvancedWidgets') === false"
NO_WIDGETS = {"mask"}  # inputs that are connected
SEEN_WIDGETS = """() => [...document.querySelectorAll(".lg-node .lg-node-widget")]
  .filter(each => each.checkVisibility()).map(each => each.textContent.trim())"""


@pytest.fixture(scope="module")
def chinese_page(browser, server):
    """A page in Chinese, for both views."""
    requests.post(f"{server.address}/settings/Comfy.Locale", json="zh", timeout=60).raise_for_status()
    page = opened(browser, server)
    requests.post(f"{server.address}/settings/Comfy.Locale", json="en", timeout=60).raise_for_status()
    page.evaluate(VIEW, False)
    yield page
    page.evaluate(VIEW, False)
    page.close()


def show(page, script: str, nodes) -> None:
    """Put nodes into the graph, and wait until they can be seen."""
    page.evaluate(script, nodes)
    page.wait_for_function(DRAWN, timeout=MINUTE // 4)
    page.evaluate(STILL)


def show_help(page, name: str, title: str) -> None:
    page.evaluate(ALONE, name)
    page.mouse.click(1000, 285)  # the title
    page.get_by_test_id("info-button").click(timeout=MINUTE)
    page.wait_for_function(HELP_IS_SHOWN, arg=title, timeout=MINUTE // 4)


def test_help_with_its_pictures(page, screenshots):
    english = texts("en")
    for name in ("IQAQuality", "IQAScoreImages"):
        show_help(page, name, english[name]["display_name"])
        page.screenshot(path=screenshots / f"help {name}.png")


def test_help_in_chinese(chinese_page, screenshots):
    for name, known in texts("zh").items():
        show_help(chinese_page, name, known["display_name"])
    chinese_page.screenshot(path=screenshots / "help zh.png")


@pytest.mark.parametrize("modern", [False, True], ids=["classic", "nodes 2.0"])
def test_titles_are_whole_and_advanced_inputs_fold(page, screenshots, modern):
    page.evaluate(VIEW, modern)
    show(page, IN_COLUMNS, NAMES)
    page.screenshot(path=screenshots / f"titles {'modern' if modern else 'classic'}.png")
    assert page.evaluate(CUT, modern) == []
    check_that_advanced_inputs_fold(page, modern)


@pytest.mark.parametrize("modern", [False, True], ids=["classic", "nodes 2.0"])
def test_nodes_in_chinese(chinese_page, screenshots, modern):
    chinese_page.evaluate(VIEW, modern)
    check_that_all_is_chinese(chinese_page)
    show(chinese_page, IN_COLUMNS, NAMES)
    assert chinese_page.evaluate(CUT, modern) == []
    check_tooltip(chinese_page, modern)
    chinese_page.screenshot(path=screenshots / f"chinese {'modern' if modern else 'classic'}.png")


def check_that_advanced_inputs_fold(page, modern: bool) -> None:
    """Where the front end folds: classic in 0.3.75, Nodes 2.0 in 0.33."""
    advanced = page.evaluate(ADVANCED, NAMES)
    info = page.evaluate("fetch('/object_info').then(answer => answer.json())")
    for name in NAMES:
        parts = [info[name]["input"].get(part, {}) for part in ("required", "optional")]
        wanted = {key for part in parts for key, (_, *given) in part.items() if given and given[0].get("advanced")}
        assert {key for key, *_ in advanced[name]} == wanted - NO_WIDGETS
        assert modern or all(seen != folded for _, seen, folded in advanced[name])
    show(page, ALONE, "IQAAdapterApply")
    if modern:
        unfolded = 0 if page.evaluate(FOLDS_IN_NODES_2) else len(advanced["IQAAdapterApply"])
        assert len(page.evaluate(SEEN_WIDGETS)) == 1 + unfolded


def check_that_all_is_chinese(page) -> None:
    shown = page.evaluate(LABELS, NAMES)
    for name, known in texts("zh").items():
        assert shown[name]["title"] == known["display_name"]
        inputs = {key: value["name"] for key, value in known["inputs"].items()}
        assert {key: shown[name]["inputs"].get(key) for key in inputs} == inputs
        for place, output in known["outputs"].items():
            assert output.get("name") in (None, shown[name]["outputs"][int(place)])


def check_tooltip(page, modern: bool) -> None:
    strength = texts("zh")["IQAQuality"]["inputs"]["strength"]
    show(page, ALONE, "IQAQuality")
    hover(page, modern, strength["name"])
    tooltip = page.locator(".p-tooltip-text" if modern else ".node-tooltip")
    tooltip.filter(has_text=strength["tooltip"]).first.wait_for(timeout=MINUTE // 4)


def hover(page, modern: bool, label: str) -> None:
    """Over the widget ``strength`` of the only node."""
    if modern:
        page.locator(".lg-node-widget", has_text=label).first.hover()
        return
    x, y = page.evaluate("""() => {
      const [node] = app.graph._nodes;
      const { y } = node.widgets.find(({ name }) => name === "strength");
      const canvas = app.canvas.canvas.getBoundingClientRect();
      return [canvas.x + node.pos[0] + 60, canvas.y + node.pos[1] + y + 10];
    }""")
    page.mouse.move(x, y)
    page.mouse.move(x + 1, y)
