"""Numbers of a picture's parts as colours over it, with a scale."""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

LEAST_SIDE = 256  # pixels; smaller pictures are enlarged without smoothing
OPACITY = 0.55  # of the colours over the picture, whose own colours are taken away
COLOURS = ((0.65, 0.0, 0.15), (0.96, 0.43, 0.26), (1.0, 0.88, 0.56), (0.45, 0.68, 0.82), (0.19, 0.21, 0.58))  # to best


def heat_map(image: Tensor, goodness: Tensor, mask: Tensor, title: str, worst: str, best: str) -> Tensor:
    """A picture in grey under red (worst) to blue (best), the outline of a mask, and a scale below.

    Args:
        image: ``[H, W, 3]`` in 0...1.
        goodness: ``[H, W]``, 0 worst to 1 best.
        mask: ``[H, W]`` of 0 and 1; its border is drawn white.
        title, worst, best: texts of the scale.

    Returns:
        ``[height, width, 3]`` in 0...1, the same size for all pictures of one size.
    """
    zoom = math.ceil(LEAST_SIDE / min(*image.shape[:2], LEAST_SIDE))
    grey = image.mean(-1, keepdim=True).expand(-1, -1, 3)
    mixed = torch.lerp(grey, coloured(goodness), OPACITY)
    large = mixed.repeat_interleave(zoom, 0).repeat_interleave(zoom, 1)
    large[_border(mask.repeat_interleave(zoom, 0).repeat_interleave(zoom, 1))] = 1
    return torch.cat([large, _scale(large.shape[1], title, worst, best)])


def coloured(goodness: Tensor) -> Tensor:
    """``[...]`` in 0...1 -> ``[..., 3]``."""
    anchors = torch.tensor(COLOURS)
    place = goodness.clamp(0, 1) * (len(anchors) - 1)
    below = place.long().clamp_max(len(anchors) - 2)
    return torch.lerp(anchors[below], anchors[below + 1], (place - below)[..., None])


def _border(mask: Tensor) -> Tensor:
    """Pixels of the mask beside one that is not of it, ``[H, W]`` bool; the picture's own border is none."""
    outside = F.max_pool2d(1 - mask[None, None], 3, 1, 1)[0, 0]
    return (mask > 0) & (outside > 0)


def _scale(width: int, title: str, worst: str, best: str) -> Tensor:
    """``[height, width, 3]``: the colours from worst to best, and the texts."""
    font = ImageFont.load_default(max(12, width // 36))
    line, margin = sum(font.getmetrics()), max(4, width // 64)
    bar = line // 2
    canvas = Image.new("RGB", (width, 2 * line + bar + 3 * margin), "white")
    draw = ImageDraw.Draw(canvas)
    ramp = coloured(torch.linspace(0, 1, width - 2 * margin))[None].expand(bar, -1, -1)
    canvas.paste(Image.fromarray((ramp * 255).round().byte().numpy()), (margin, margin))
    under = 2 * margin + bar
    draw.text((margin, under), worst, "black", font)
    draw.text((width - margin, under), best, "black", font, anchor="ra")
    draw.text((width // 2, under + line), title, "black", font, anchor="ma")
    return torch.from_numpy(np.asarray(canvas, np.float32) / 255)
