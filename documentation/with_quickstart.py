"""A workflow for any checkpoint, made to run with the quickstart: nothing is downloaded, and it takes seconds."""

from __future__ import annotations

import copy
from collections.abc import Mapping

from ..iqa_models.catalogue import QUICKSTART
from ..quickstart.adapters import REFERENCE, SCORE
from ..quickstart.rendering import SIZE
from ..quickstart.world import unknown_words

PROMPT = "a dotted pink ring on teal stripes"
SAMPLING = {"steps": 16, "cfg": 3.0, "sampler_name": "dpmpp_2m", "scheduler": "karras"}
ADAPTER_NODES = {"IQAQuality": SCORE, "IQAQualityFromPicture": REFERENCE}
FOR_REFERENCES = ("IQAReferenceEmbed", "IQAReferenceFeatures")  # nodes that want a reference adapter


def with_quickstart(graph: Mapping[str, Mapping], changes: Mapping[str, Mapping] | None = None) -> dict:
    """A copy of a graph in API format in which the quickstart draws and judges.

    *Load Checkpoint* becomes *Quickstart Model*, whose latent replaces empty ones, *Load Image* a scene that it could
    have drawn; adapters, IQA models, prompts that it does not understand, the sampler's settings and sizes become those
    of the quickstart. A graph without *Load Checkpoint* stays as it is.

    Args:
        graph: nodes by number.
        changes: further inputs by titles of nodes, after that: ``{"KSampler": {"denoise": 0.5}}``.

    Raises:
        ValueError: no node has one of the titles of ``changes``.
    """
    made = copy.deepcopy(dict(graph))
    draws = any(node["class_type"] == "CheckpointLoaderSimple" for node in made.values())
    for number, node in made.items() if draws else ():
        replace = RULES.get(node["class_type"])
        if replace is not None:
            replace(made, number, node)
    for title, inputs in (changes or {}).items():
        named = [node for node in made.values() if node["_meta"]["title"] == title]
        if not named:
            raise ValueError(f"No node is called {title!r}.")
        for node in named:
            node["inputs"].update(inputs)
    return made


def _model(_graph: dict, _number: str, node: dict) -> None:
    node.update(class_type="IQAQuickstartModel", inputs={"batch_size": 1})


def _latent(graph: dict, number: str, node: dict) -> None:
    """The latent comes from the model; the empty one stays without effect."""
    model = next(each for each, found in graph.items() if found["class_type"] in MODELS)
    for other in graph.values():
        for name, value in other["inputs"].items():
            if value == [number, 0]:
                other["inputs"][name] = [model, 3]
    graph[model]["inputs"]["batch_size"] = node["inputs"]["batch_size"]


def _picture(_graph: dict, _number: str, node: dict) -> None:
    inputs = {"picture": "scene", "distortion": "clean", "severity": 0.0, "seed": 0}
    node.update(class_type="IQAQuickstartPicture", inputs=inputs)


def _prompt(_graph: dict, _number: str, node: dict) -> None:
    if unknown_words(node["inputs"]["text"]):
        node["inputs"]["text"] = "" if "negative" in node["_meta"]["title"].lower() else PROMPT


def _adapter(graph: dict, number: str, node: dict) -> None:
    users = {other["class_type"] for other in graph.values() if [number, 0] in other["inputs"].values()}
    kind = ADAPTER_NODES.get(node["class_type"], REFERENCE if users & set(FOR_REFERENCES) else SCORE)
    node["inputs"]["adapter_name"] = kind.file.name
    for name, value in (("metrics", ""), ("strength", kind.strength)):
        if name in node["inputs"]:
            node["inputs"][name] = value


def _strength(graph: dict, _number: str, node: dict) -> None:
    """As the quickstart's adapters want it; 0 stays 0."""
    asked = graph[node["inputs"]["iqa_embeds"][0]]["class_type"]
    if node["inputs"]["strength"]:
        node["inputs"]["strength"] = (REFERENCE if asked == "IQAReferenceEmbed" else SCORE).strength


def _iqa_model(_graph: dict, _number: str, node: dict) -> None:
    node["inputs"].update(metric=QUICKSTART, download_if_missing=False)


def _scoring(_graph: dict, _number: str, node: dict) -> None:
    """One IQA model, which sees pictures of its own size."""
    for name in ("model_2", "model_3", "model_4"):
        node["inputs"].pop(name, None)
    node["inputs"]["protocol"] = str(SIZE)


def _sampling(_graph: dict, _number: str, node: dict) -> None:
    node["inputs"].update({name: value for name, value in SAMPLING.items() if name in node["inputs"]})


def _size(_graph: dict, _number: str, node: dict) -> None:
    node["inputs"].update(width=SIZE, height=SIZE)


MODELS = ("CheckpointLoaderSimple", "IQAQuickstartModel")
RULES = {
    "CheckpointLoaderSimple": _model,
    "EmptyLatentImage": _latent,
    "LoadImage": _picture,
    "CLIPTextEncode": _prompt,
    "IQAAdapterLoader": _adapter,
    "IQAQuality": _adapter,
    "IQAQualityFromPicture": _adapter,
    "IQAAdapterApply": _strength,
    "IQAModelLoader": _iqa_model,
    "IQAScoreImages": _scoring,
    "IQAReferenceFeatures": _scoring,
    "KSampler": _sampling,
    "KSamplerAdvanced": _sampling,
    "BasicScheduler": _sampling,
    "CFGGuider": _sampling,
    "ImageScale": _size,
}
