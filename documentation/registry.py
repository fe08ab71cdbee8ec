"""Icon and banner of the pack in the registry."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from ..figures.grid import sheet
from ..quickstart.adapters import SCORE
from .picture import Models, Picture, channels_last

SETTINGS = {
    "scenes": [
        ["a striped red heart on teal fabric", 5],
        ["a plain yellow star on navy stripes", 3],
        ["a dotted pink ring on teal stripes", 1],
    ],
    "levels": [1, 20, 40, 60, 80, 99],
    "colourfulness": 50,
}


def banner(models: Models, settings: Mapping) -> Tensor:
    """A row for every scene, in which quality rises."""
    rows = [_row(models, settings, number) for number in range(len(settings["scenes"]))]
    return sheet(torch.cat(rows), len(settings["levels"]), zoom=2)


def icon(models: Models, settings: Mapping) -> Tensor:
    """The first scene, its left half at the lowest quality and its right half at the highest."""
    row = _row(models, settings, 0)
    half = row.shape[2] // 2
    return sheet(torch.cat([row[:1, :, :half], row[-1:, :, half:]], 2), 1, zoom=4)


def _row(models: Models, settings: Mapping, number: int) -> Tensor:
    """``[levels, 64, 64, 3]``"""
    prompt, seed = settings["scenes"][number]
    requests = [(level, settings["colourfulness"]) for level in settings["levels"]]
    return channels_last(models.requested(prompt, seed, requests))


BANNER = Picture("banner.png", banner, SETTINGS, (SCORE.file,))
ICON = Picture("icon.png", icon, SETTINGS, (SCORE.file,))
