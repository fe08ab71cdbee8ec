"""The bad half of a picture, found by a quality map and drawn anew at quality 99."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from ..evaluation.quality_map import Inpainting
from ..figures.grid import labelled_grid
from ..quickstart.adapters import SCORE
from .picture import Models, Picture, channels_last

ZOOM = 3


def draw(_models: Models, settings: Mapping) -> Tensor:
    """A row for each scene: with its degraded half, the mask of the worst half, and drawn anew."""
    inpainting, pictures, captions = Inpainting(), [], []
    for kind, scene in settings["scenes"]:
        made = inpainting.mend(scene, kind)
        pictures += [made.bad, made.masked.float().expand(3, -1, -1), made.drawn]
        captions += [f"{kind} half: {made.before:.2f}", "found", f"drawn anew: {made.after:.2f}"]
    return labelled_grid(channels_last(torch.stack(pictures)), captions, 3, ZOOM)


PICTURE = Picture("mended_half.png", draw, {"scenes": [["noisy", 0], ["blurred", 1], ["JPEG", 3]]}, (SCORE.file,))
