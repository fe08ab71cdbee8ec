"""Subgraph blueprints as files: ``subgraphs/NAME.json``."""

from __future__ import annotations

import importlib
import json
import pkgutil
import uuid
from pathlib import Path

from ..files import write_text
from . import subgraphs
from .blueprint import Blueprint
from .workflow_page import Page

FOLDER = Path(__file__).resolve().parent.parent / "subgraphs"
PACK = "iqa-adapter"  # as the registry calls it
SIZE = (340, 180)  # of the node, in pixels


def modules() -> list[str]:
    """Names of the modules that describe blueprints."""
    return sorted(module.name for module in pkgutil.iter_modules(subgraphs.__path__))


def blueprint_of(module: str) -> Blueprint:
    return importlib.import_module(f"{subgraphs.__name__}.{module}").BLUEPRINT


def make_blueprint(page: Page, module: str) -> None:
    blueprint = blueprint_of(module)
    made = page.build_blueprint(blueprint)
    (outside,), (inside,) = made["nodes"], made["subgraphs"]
    inside |= {"description": blueprint.description, "category": "IQA-Adapter"}
    outside |= {"id": 1, "pos": [0, 0], "size": list(SIZE)}
    content = {
        "revision": 0,
        "last_node_id": 1,
        "last_link_id": 0,
        "nodes": [outside],
        "links": [],
        "version": 0.4,
        "definitions": {"subgraphs": [inside]},
        "extra": {"BlueprintDescription": blueprint.description, "BlueprintSearchAliases": list(blueprint.aliases)},
    }
    FOLDER.mkdir(exist_ok=True)
    path = FOLDER / f"{blueprint.name}.json"
    write_text(path, _with_lasting_ids(json.dumps(content, indent=2), inside, blueprint.name) + "\n")


def _with_lasting_ids(text: str, inside: dict, name: str) -> str:
    """The same whenever it is made: the front end draws ids at random."""
    drawn = [inside["id"], *(slot["id"] for slot in (*inside["inputs"], *inside["outputs"]))]
    for number, old in enumerate(drawn):
        text = text.replace(old, str(uuid.uuid5(uuid.NAMESPACE_URL, f"{PACK}/subgraphs/{name}/{number}")))
    return text
