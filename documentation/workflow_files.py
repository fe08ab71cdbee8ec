"""``python iqa.py docs --workflows``: writes the files of workflows, through ComfyUI's own server and front end."""

from __future__ import annotations

import importlib
import io
import json
import pkgutil
import tempfile
import uuid
from collections.abc import Callable
from pathlib import Path

from PIL import Image

from ..files import write_text
from . import blueprint_files, workflows
from .blueprint_files import PACK
from .thumbnail import thumbnail
from .with_quickstart import with_quickstart
from .workflow import Workflow
from .workflow_page import CORNER, Page, open_page, opening_zoom

FOLDER = Path(__file__).resolve().parent.parent / "workflows"
OPENING_VIEW = "iqaadapter_opening_view"  # for web/opening_view.js


def names() -> list[str]:
    """Of all workflows that are described."""
    found = (module.name for module in pkgutil.iter_modules(workflows.__path__))
    return sorted(name for name in found if not name.startswith("_"))


def described(name: str) -> Workflow:
    return importlib.import_module(f"{workflows.__name__}.{name}").WORKFLOW


def make_workflows(
    chosen: list[str], serve: Callable, client_of: Callable, example: Path, thumbnails: bool = True
) -> None:
    """Write both forms and the thumbnail of some workflows, and blueprints; or all.

    Args:
        chosen: names of workflows, and of modules of blueprints; none for all.
        serve: starts ComfyUI, :func:`comfyui_runtime.serve`.
        client_of: :class:`comfyui_client.Client`.
        example: the picture that every ComfyUI comes with, which *Load Image* shows.
        thumbnails: whether to make those, too.

    Raises:
        ValueError: there is no such workflow, or it cannot be laid out.
    """
    known = [*names(), *blueprint_files.modules()]
    missing = [name for name in chosen if name not in known]
    if missing:
        raise ValueError(f"There is no workflow {missing[0]}; there are {', '.join(known)}.")
    built = [name for name in chosen or known if name in names()]
    blueprints = [name for name in chosen or known if name not in names()]
    failed: list[str] = []
    with tempfile.TemporaryDirectory() as scratch:
        log = Path(scratch) / "comfyui.log"
        folders = ("--output-directory", scratch, "--user-directory", scratch)
        with serve(log, *folders) as address:
            client = client_of(address, log)
            client.upload(example)
            with open_page(address) as page:
                _try_each(built, lambda name: _write_forms(page, name), failed)
                _try_each(blueprints, lambda module: blueprint_files.make_blueprint(page, module), failed)
            whole = [name for name in built if thumbnails and name not in failed]
            _try_each(whole, lambda name: _write_thumbnail(client, name), failed)
    if failed:
        raise ValueError(f"Not made: {', '.join(failed)}.")


def _try_each(names: list[str], make: Callable[[str], None], failed: list[str]) -> None:
    """Make all that can be made, and say of each what came of it."""
    for name in names:
        try:
            make(name)
            print(f"{name}: made", flush=True)
        except (ValueError, RuntimeError) as error:
            failed.append(name)
            print(f"{name}: {error}", flush=True)


def _write_forms(page: Page, name: str) -> None:
    saved, graph = page.build(described(name))
    write_text(FOLDER / f"{name}.json", _text(_tidy(saved, name)))
    write_text(FOLDER / "api" / f"{name}.json", _text(graph))


def _write_thumbnail(client, name: str) -> None:
    graph = json.loads((FOLDER / "api" / f"{name}.json").read_text(encoding="utf-8"))
    (FOLDER / f"{name}.jpg").write_bytes(_thumbnail(client, described(name), graph))


def _tidy(saved: dict, name: str) -> dict:
    """A saved workflow, its view on the first group, without what differs from one making to the next."""
    zoom = opening_zoom(*saved["groups"][0]["bounding"][2:])
    view = {"scale": zoom, "offset": [side / zoom for side in CORNER]}
    saved["id"] = str(uuid.uuid5(uuid.NAMESPACE_URL, f"{PACK}/{name}"))
    saved["extra"] = {"ds": view, OPENING_VIEW: True, "workflowRendererVersion": "LG"}
    for node in saved["nodes"]:
        if node["type"].startswith("IQA"):
            node["properties"]["cnr_id"] = PACK
        node["properties"].pop("ver", None)
        node["properties"].pop("aux_id", None)
    return saved


def _text(content: dict) -> str:
    return json.dumps(content, indent=2) + "\n"


def _thumbnail(client, workflow: Workflow, graph: dict) -> bytes:
    made = with_quickstart(graph, workflow.quickstart, workflow.blurred_below)
    outputs = client.outputs_of(made, timeout=1200)  # seconds: of two trainings, too
    numbers = {node["_meta"]["title"]: number for number, node in made.items()}
    pictures = [outputs[numbers[shot.title]][shot.key][shot.number] for shot in workflow.thumbnail]
    files = [client.picture(each) for each in pictures]
    return thumbnail([Image.open(io.BytesIO(file)) for file in files], [shot.caption for shot in workflow.thumbnail])
