"""One prompt and one seed at four qualities and four degrees of colourfulness."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

from torch import Tensor

from ..figures.grid import labelled_grid
from ..quickstart.adapters import SCORE
from .picture import ZOOM, Models, Picture, channels_last


def draw(models: Models, settings: Mapping) -> Tensor:
    """Quality rises downwards, colourfulness to the right."""
    cells = list(itertools.product(settings["levels"], repeat=2))
    pictures = models.requested(settings["prompt"], settings["seed"], cells)
    captions = [f"quality {level} %\ncolourfulness {colourful} %" for level, colourful in cells]
    return labelled_grid(channels_last(pictures), captions, len(settings["levels"]), ZOOM)


PICTURE = Picture(
    "quality_colourfulness.png",
    draw,
    {"prompt": "a dotted yellow star on navy leaves", "seed": 3, "levels": [1, 33, 66, 99]},
    (SCORE.file,),
)
