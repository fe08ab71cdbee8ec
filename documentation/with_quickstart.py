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


def with_quickstart(
    graph: Mapping[str, Mapping], changes: Mapping[str, Mapping] | None = None, blurred_below: str = ""
) -> dict:
    """A copy of a graph in API format in which the quickstart draws and judges.

    *Load Checkpoint* or *Load Diffusion Model* becomes *Quickstart Model*, which replaces loaders of text encoders and
    VAEs, too, and whose latent replaces empty ones; *Load Image* becomes a scene that it could have drawn; adapters,
    IQA models, prompts that it does not understand, the sampler's settings and sizes become those of the quickstart. A
    graph without such a loader stays as it is.

    Args:
        graph: nodes by number.
        changes: further inputs by titles of nodes, after that: ``{"KSampler": {"denoise": 0.5}}``.
        blurred_below: title of the node whose picture is blurred in its lower half before others get it.

    Raises:
        ValueError: no node has one of these titles.
    """
    made = copy.deepcopy(dict(graph))
    draws = any(node["class_type"] in LOADERS for node in made.values())
    for number, node in list(made.items()) if draws else ():
        replace = RULES.get(node["class_type"])
        if replace is not None:
            replace(made, number, node)
    for title, inputs in (changes or {}).items():
        for number in _titled(made, title):
            made[number]["inputs"].update(inputs)
    if blurred_below:
        _blur_below(made, _titled(made, blurred_below)[0])
    return made


def _titled(graph: dict, title: str) -> list[str]:
    """Numbers of the nodes with a title."""
    named = [number for number, node in graph.items() if node["_meta"]["title"] == title]
    if not named:
        raise ValueError(f"No node is called {title!r}.")
    return named


def _blur_below(graph: dict, number: str) -> None:
    """Put *Distort Images* behind a picture of the quickstart's size, for its lower half."""
    for node in graph.values():
        node["inputs"] |= {name: ["blur", 0] for name, value in node["inputs"].items() if value == [number, 0]}
    parts = {"whole": {"value": 0.0, "height": SIZE}, "half": {"value": 1.0, "height": SIZE // 2}}
    for name, inputs in parts.items():
        graph[name] = {"class_type": "SolidMask", "inputs": {"width": SIZE, **inputs}}
    placed = {"destination": ["whole", 0], "source": ["half", 0], "x": 0, "y": SIZE // 2, "operation": "add"}
    graph["below"] = {"class_type": "MaskComposite", "inputs": placed}
    blur = {"images": [number, 0], "kind": "blur", "severity": 0.8, "seed": 0, "mask": ["below", 0]}
    graph["blur"] = {"class_type": "IQADistortImages", "inputs": blur}
    for name in ("whole", "half", "below", "blur"):
        graph[name]["_meta"] = {"title": name}


def _model(_graph: dict, _number: str, node: dict) -> None:
    node.update(class_type="IQAQuickstartModel", inputs={"batch_size": 1})


def _latent(graph: dict, number: str, node: dict) -> None:
    """The latent comes from the model; the empty one stays without effect."""
    model = _from_model(graph, number, 3)
    graph[model]["inputs"]["batch_size"] = node["inputs"]["batch_size"]


def _text_encoder(graph: dict, number: str, _node: dict) -> None:
    _from_model(graph, number, 1)
    del graph[number]


def _vae(graph: dict, number: str, _node: dict) -> None:
    _from_model(graph, number, 2)
    del graph[number]


def _from_model(graph: dict, number: str, output: int) -> str:
    """Whoever takes the first output of a node gets one of the model instead; the model's number."""
    model = _number_of_model(graph)
    for other in graph.values():
        for name, value in other["inputs"].items():
            if value == [number, 0]:
                other["inputs"][name] = [model, output]
    return model


def _number_of_model(graph: dict) -> str:
    return next(number for number, node in graph.items() if node["class_type"] in (*LOADERS, "IQAQuickstartModel"))


def _no_negative(graph: dict, _number: str, node: dict) -> None:
    """An empty prompt, for the quickstart samples above cfg 1."""
    node.update(class_type="CLIPTextEncode", inputs={"text": "", "clip": [_number_of_model(graph), 1]})


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


def _search(_graph: dict, _number: str, node: dict) -> None:
    node["inputs"].update(protocol=str(SIZE), cfg=SAMPLING["cfg"])


def _sampling(_graph: dict, _number: str, node: dict) -> None:
    node["inputs"].update({name: value for name, value in SAMPLING.items() if name in node["inputs"]})


def _size(_graph: dict, _number: str, node: dict) -> None:
    node["inputs"].update(width=SIZE, height=SIZE)


LOADERS = ("CheckpointLoaderSimple", "UNETLoader")
RULES = {
    "CheckpointLoaderSimple": _model,
    "UNETLoader": _model,
    "CLIPLoader": _text_encoder,
    "DualCLIPLoader": _text_encoder,
    "VAELoader": _vae,
    "ConditioningZeroOut": _no_negative,
    "EmptyLatentImage": _latent,
    "EmptySD3LatentImage": _latent,
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
    "KSamplerSelect": _sampling,
    "IQASearch": _search,
    "BasicScheduler": _sampling,
    "CFGGuider": _sampling,
    "ImageScale": _size,
}
