"""Measures of pictures by name: IQA models, formulas, what the quickstart's reader sees, activations, CLIP.

=====================  ===============================================================================================
name                   gives for each picture
=====================  ===============================================================================================
``topiq_nr``, …        the score of an IQA model of the catalogue
``sharpness``, …       a number by formula, see :mod:`.formulas`
``reader/…``           ``attributes`` (5 classes), ``distortion`` (class), ``severity`` (7), ``content`` (30 numbers)
``features/MODEL``     activations of an IQA model's feature layer
``clip/picture``       CLIP's embedding of the picture, of unit length
=====================  ===============================================================================================
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ..iqa_models import catalogue
from ..iqa_models.features import read_layer
from ..iqa_models.loading import IQAModel, load_iqa_model
from ..iqa_models.scoring import score_images
from ..quickstart.model import WEIGHTS
from ..quickstart.reader import ATTRIBUTES, READER_WEIGHTS, load_reader
from . import clip_score
from .formulas import FORMULAS

READER = ("attributes", "distortion", "severity", "content")


@dataclass(frozen=True)
class Measure:
    """Something that is measured of single pictures.

    Attributes:
        name: see the module's table.
        identity: tells versions of it apart; scores are kept by it.
        of: ``[N, 3, H, W]`` in 0…1 -> ``[N]`` or ``[N, D]``, NaN where there is no answer.
        higher_is_better: None where neither is.
        least_side: pixels that a picture must have.
    """

    name: str
    identity: str
    of: Callable[[Tensor], Tensor]
    higher_is_better: bool | None = None
    least_side: int = 1


def find_measure(name: str, resize: str = "") -> Measure:
    """The measure of a name, its model loaded.

    Args:
        resize: how pictures are scaled before IQA models see them; empty for what the catalogue says.

    Raises:
        ValueError: unknown name, or a damaged file.
        FileNotFoundError: weights are missing; the message says where they come from.
    """
    kind, _, rest = name.partition("/")
    if kind == "reader" and rest in READER:
        return _reader(name, rest)
    if kind == "features" and rest:
        return _features(name, load_iqa_model(rest), resize)
    if name == clip_score.NAME:
        model = clip_score.load()
        return Measure(name, f"{name} {model.digest}", model.embed_pictures)
    if name in FORMULAS:
        return Measure(name, name, FORMULAS[name])
    return _metric(load_iqa_model(name), resize)


def is_better_higher(name: str) -> bool:
    """Direction of a metric by its name, without loading it; True for closeness to clean scenes."""
    if name.startswith("clean/"):
        return True
    return catalogue.find(name).higher_is_better


def _metric(model: IQAModel, resize: str) -> Measure:
    entry = model.entry
    chosen = resize or entry.resize

    def score(pictures: Tensor) -> Tensor:
        return score_images([model], pictures.movedim(1, -1), chosen, len(pictures)).values[:, 0]

    needs = entry.minimum_side if chosen == "as is" else 1
    return Measure(entry.name, _identity(model, chosen), score, entry.higher_is_better, needs)


def _features(name: str, model: IQAModel, resize: str) -> Measure:
    chosen = resize or model.entry.resize

    def activations(pictures: Tensor) -> Tensor:
        return read_layer(model, pictures.movedim(1, -1), "", "", chosen, len(pictures))[0]

    return Measure(name, f"{name} {_identity(model, chosen)}", activations)


def _identity(model: IQAModel, resize: str) -> str:
    return " ".join([model.entry.name, resize, *(file.sha256() for file in model.files)])


def _reader(name: str, what: str) -> Measure:
    file = WEIGHTS / READER_WEIGHTS
    reader, _ = load_reader(WEIGHTS)

    @torch.no_grad()
    def read(pictures: Tensor) -> Tensor:
        if what == "content":
            return reader.content(pictures)
        seen = reader(pictures)
        if what == "severity":
            return seen["severity"]
        if what == "distortion":
            return seen["distortion"].argmax(1).float()
        return torch.stack([seen[attribute].argmax(1) for attribute in ATTRIBUTES], 1).float()

    return Measure(name, f"{name} {hashlib.sha256(file.read_bytes()).hexdigest()}", read, least_side=64)
