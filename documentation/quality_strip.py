"""One prompt and one seed at five qualities."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from ..figures.grid import labelled_grid
from ..quickstart.adapters import SCORE
from ..quickstart.iqa import quality
from .picture import ZOOM, Models, Picture, channels_last


def draw(models: Models, settings: Mapping) -> Tensor:
    """The five in a row; under each what was requested and what the quickstart's IQA model measures."""
    levels = settings["levels"]
    requests = [(level, settings["colourfulness"]) for level in levels]
    pictures = models.requested(settings["prompt"], settings["seed"], requests)
    measured = quality(models.iqa, pictures).tolist()
    captions = [f"quality {level} %\nmeasured {score:.2f}" for level, score in zip(levels, measured, strict=True)]
    return labelled_grid(channels_last(pictures), captions, len(levels), ZOOM)


PICTURE = Picture(
    "quality_strip.png",
    draw,
    {"prompt": "a striped red heart on teal fabric", "seed": 5, "levels": [1, 25, 50, 75, 99], "colourfulness": 50},
    (SCORE.file,),
)
