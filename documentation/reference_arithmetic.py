"""What arithmetic with references does: one prompt and one seed, drawn for each mixture of activations."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from ..evaluation.reference_arithmetic import references, requests, tokens_of
from ..figures.grid import labelled_grid
from ..quickstart.adapters import REFERENCE
from .picture import Models, Picture, channels_last

ZOOM = 2
COLUMNS = 5


def draw(models: Models, settings: Mapping) -> Tensor:
    """References in the first row, what was drawn for each request in two rows below."""
    shown = references()
    asked = requests(models.iqa, shown)
    drawn = [
        models.sample([settings["prompt"]], [settings["seed"]], tokens, REFERENCE.strength)
        for tokens in (tokens_of(models.reference, request, 1) for request in asked.values())
    ]
    captions = [*shown, *asked]
    return labelled_grid(channels_last(torch.cat([*shown.values(), *drawn])), captions, COLUMNS, ZOOM)


PICTURE = Picture(
    "reference_arithmetic.png",
    draw,
    {"prompt": "a plain white moon on brown leaves", "seed": 2},
    (REFERENCE.file,),
)
