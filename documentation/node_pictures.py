"""``python iqa.py docs --nodes``: pictures of the nodes at work, for their help pages.

Each graph of :mod:`.node_graphs` is opened in ComfyUI's front end, runs to its end on ComfyUI's server, and its nodes
are cut out of what the browser shows.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from PIL import Image

from ..files import write_text, written_whole
from ..quickstart.adapters import SCORE
from ..quickstart.model import WEIGHTS
from .front_end import front_end
from .node_graphs import OWN_ADAPTER, PHOTO, ROOT, SCENES, Scene
from .with_quickstart import with_quickstart

PAGES = ROOT / "web" / "docs"
IMAGES = PAGES / "images"
DIGESTS = Path(__file__).with_name("node_pictures.json")
LARGEST = 2_500_000  # bytes of all together
SETTINGS = {
    "Comfy.TutorialCompleted": True,  # else the list of templates opens at the first start
    "Comfy.NodeBadge.NodeSourceBadgeMode": "None",
}
VIEW = 1500, 1400, 1.5  # width and height of the window, pixels of a picture for each of its own
WORKFLOW = re.compile(r"^## Workflow\n\n`(\w+)`", re.MULTILINE)

OPEN = """async graph => {
  await app.loadApiJson(graph, "help");
  const seeds = app.graph._nodes.flatMap(node => node.widgets ?? []).filter(({ name }) => name.match(/control.after/));
  for (const seed of seeds) seed.value = "fixed";
}"""
# Alone, or with others at its right, far from the rest of the graph; where that is on the screen, in pixels.
# Texts name ComfyUI's folder in place of the one that it has here
PLACE = """async ([numbers, place, folder]) => {
  const nodes = numbers.map(number => app.graph._nodes.find(node => String(node.id) === number));
  const left = 20000 + 5000 * place;
  let x = left;
  for (const node of nodes) {
    for (const widget of node.widgets ?? [])
      if (typeof widget.value === "string") {
        widget.value = widget.value.replaceAll(folder, "ComfyUI");
        if (widget.element) widget.element.value = widget.value;  // what the node said while it ran
      }
    const [width, height] = node.computeSize();
    const least = node === nodes[0] ? [0, 0] : [300, 330];
    const tall = Math.max(least[1], height, node.imgs ? node.size[1] : 0);
    node.setSize([Math.max(node.size[0], width, least[0]), tall]);
    node.pos = [x, 20000];
    x += node.size[0] + 40;
  }
  app.canvas.deselectAll();
  app.canvas.ds.scale = 1;
  app.canvas.ds.offset = [200 - left, 200 - 20000];
  app.canvas.setDirty(true, true);
  const waits = () => nodes.some(node => app.nodeOutputs[node.id]?.images?.length && !node.imgs?.length);
  for (let tries = 0; tries < 200 && waits(); tries++) await new Promise(done => setTimeout(done, 100));
  const shown = nodes.flatMap(node => node.imgs ?? []);
  await Promise.all(shown.map(picture => picture.decode().catch(() => {})));
  await new Promise(done => setTimeout(done, 800));
  const canvas = app.canvas.canvas.getBoundingClientRect();
  return {
    x: canvas.x + 200 - 14, y: canvas.y + 200 - 44,
    width: x - 40 - left + 28, height: Math.max(...nodes.map(node => node.size[1])) + 58,
  };
}"""


def make(serve: Callable, client_of: Callable, only: tuple[str, ...] = ()) -> None:
    """Make the pictures, and note of what they are made.

    Args:
        serve: starts ComfyUI's server, as :func:`comfyui_runtime.serve`.
        client_of: ``(address, log)`` -> a client of it, as :class:`comfyui_client.Client`.
        only: class names of the nodes to picture; all where there are none.

    Raises:
        ValueError: there is no browser, or the pictures are larger than a repository should carry.
    """
    IMAGES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        log = folder / "comfyui.log"
        with serve(log, *_folders(folder)) as address, front_end(address, *VIEW) as page:
            page.add_style_tag(content=".p-toast { display: none !important; }")
            client = client_of(address, log)
            client.upload(_cat(folder))
            for number, scene in enumerate(scenes(only), 1):
                _picture(page, client, scene, 100 * number, name)
    together = sum(path.stat().st_size for path in IMAGES.iterdir())
    print(f"{len(list(IMAGES.iterdir()))} pictures, {together / 1000:.0f} kB")
    if together > LARGEST:
        raise ValueError(f"The pictures of web/docs/images take {together} bytes, more than {LARGEST}; crop them.")
    kept = {name: digest(name) for name in wanted() if (IMAGES / f"{name}.webp").is_file()}
    if only:
        kept = kept_digests() | {name: kept[name] for name in only}
    write_text(DIGESTS, json.dumps(kept, indent=2, sort_keys=True) + "\n")


def _folders(folder: Path) -> list[str]:
    """Arguments with which ComfyUI leaves all others alone, with the quickstart's adapter as one of the user's own."""
    adapters = folder / "models" / "iqa_adapter"
    adapters.mkdir(parents=True)
    shutil.copy(WEIGHTS / SCORE.file, adapters / OWN_ADAPTER)
    paths = folder / "paths.yaml"
    write_text(paths, json.dumps({"documentation": {"iqa_adapter": str(adapters)}}))  # JSON is YAML
    write_text(folder / "user" / "default" / "comfy.settings.json", json.dumps(SETTINGS))
    for each in ("output", "temp", "input"):
        (folder / each).mkdir()
    places = [f"--{each}-directory={folder / each}" for each in ("output", "temp", "input", "user")]
    return [*places, f"--extra-model-paths-config={paths}"]


def _cat(folder: Path) -> Path:
    """A photograph that comes with scikit-image."""
    from skimage.data import chelsea

    path = folder / PHOTO
    Image.fromarray(chelsea()[:, 60:360]).resize((600, 600), Image.Resampling.LANCZOS).save(path)
    return path


def wanted() -> list[str]:
    """Class names of the pack's nodes."""
    return sorted(english())


def english() -> dict:
    """What the nodes say of themselves in English, by class name."""
    return json.loads((ROOT / "locales" / "en" / "nodeDefs.json").read_text(encoding="utf-8"))


def kept_digests() -> dict[str, str]:
    return json.loads(DIGESTS.read_text(encoding="utf-8"))


def digest(name: str) -> str:
    """Of what a node's picture shows: its title, inputs and outputs, and the values that they have in the graph."""
    texts = english()[name]
    sockets = [[key, each.get("name")] for part in ("inputs", "outputs") for key, each in texts[part].items()]
    ((shown, *_),) = (scene := scene_of(name)).shown
    given = scene.nodes[shown]["inputs"]
    # 1 and 1.0 are the same value
    values = {key: str(value).removesuffix(".0") for key, value in given.items() if not isinstance(value, list)}
    known = json.dumps([texts["display_name"], sockets, values], sort_keys=True)
    return hashlib.sha256(known.encode()).hexdigest()[:16]


def scene_of(name: str) -> Scene:
    """The graph in which a node is pictured: one of :mod:`.node_graphs`, else the workflow that its page names, with
    the embedded model."""
    for scene in SCENES:
        for shown in scene.shown:
            if scene.nodes[shown[0]]["class_type"] == name:
                return Scene(scene.nodes, (shown,))
    return _of_page(name)


def _of_page(name: str) -> Scene:
    page = PAGES / f"{name}.md"
    for workflow in WORKFLOW.findall(page.read_text(encoding="utf-8")):
        nodes = json.loads((ROOT / "workflows" / "api" / f"{workflow}.json").read_text(encoding="utf-8"))
        for number, each in nodes.items():
            if each["class_type"] == name:
                return Scene(with_quickstart(nodes), ((number,),))
    raise ValueError(f"{page} names no workflow with {name}; name one there, or add a graph to {SCENES_FILE}.")


SCENES_FILE = "documentation/node_graphs.py"


def scenes(only: tuple[str, ...]) -> Iterator[Scene]:
    """All that is to be opened, each graph once."""
    names = only or tuple(wanted())
    left = set(names)
    for scene in SCENES:
        shown = tuple(each for each in scene.shown if scene.nodes[each[0]]["class_type"] in left)
        if shown:
            left -= {scene.nodes[each[0]]["class_type"] for each in shown}
            yield Scene(scene.nodes, shown)
    for name in sorted(left):
        yield scene_of(name)


def _picture(page, client, scene: Scene, first: int, folder: str) -> None:
    """Run a graph in the front end and cut out its nodes.

    Args:
        first: number of its first node; every graph has others, for the front end keeps what nodes have shown.
        folder: of ComfyUI.
    """
    numbers = {name: str(place) for place, name in enumerate(scene.nodes, first)}
    ran = len(client.get("/history"))
    page.evaluate(OPEN, _numbered(scene.nodes, numbers))
    page.evaluate("app.queuePrompt(0)")
    if refused := page.evaluate("Object.keys(app.lastNodeErrors ?? {}).length && JSON.stringify(app.lastNodeErrors)"):
        raise ValueError(f"ComfyUI refuses the graph of {scene.shown}: {refused}")
    _wait(page, client, ran + 1)
    for place, shown in enumerate(scene.shown):
        box = page.evaluate(PLACE, [[numbers[name] for name in shown], place, folder])
        name = scene.nodes[shown[0]]["class_type"]
        with Image.open(io.BytesIO(page.screenshot(clip=box))) as image:
            path = IMAGES / f"{name}.webp"
            with written_whole(path) as whole:
                image.convert("RGB").save(whole, "webp", quality=80, method=6)
        print(f"{path.relative_to(ROOT)}: {image.size}, {path.stat().st_size / 1000:.0f} kB", flush=True)


def _numbered(nodes: dict, numbers: dict[str, str]) -> dict:
    """The graph with numbers for ids, as the front end has them, and no titles but the display names."""

    def renamed(value: object) -> object:
        return [numbers[value[0]], value[1]] if isinstance(value, list) and value[0] in numbers else value

    return {
        numbers[name]: {
            "class_type": each["class_type"],
            "inputs": {key: renamed(value) for key, value in each["inputs"].items()},
        }
        for name, each in nodes.items()
    }


def _wait(page, client, count: int) -> None:
    """Until as many runs have ended.

    Raises:
        ValueError: one of them failed, or takes longer than five minutes.
    """
    for _ in range(1500):
        history = client.get("/history")
        failed = [run for run in history.values() if run["status"]["status_str"] == "error"]
        if failed:
            error = dict(failed[-1]["status"]["messages"])["execution_error"]
            raise ValueError(f"{error['node_type']}: {error['exception_message']}")
        if len(history) >= count and all(run["status"]["completed"] for run in history.values()):
            page.wait_for_timeout(3000)  # pictures arrive
            return
        page.wait_for_timeout(200)
    raise ValueError("A graph took longer than five minutes.")
