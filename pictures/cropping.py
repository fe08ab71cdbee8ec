"""Pictures of all shapes -> the sizes that a model is trained at."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from .scaling import scale

LARGEST_RATIO = 2.0  # of a bucket's longer side to its shorter one
AT_ONCE = 2**15  # pictures whose ratios are compared together
OTHER_CROP = (0.6, 0.9)  # sides of the other crop, as shares of the picture's


def bucket_sizes(resolution: int, step: int) -> list[tuple[int, int]]:
    """Heights and widths, multiples of ``step``, of about the area of a square of ``resolution`` and at most so large.

    Ordered by height; aspect ratios from 1:2 to 2:1.
    """
    sizes = set()
    for short in range(step, resolution + 1, step):
        long = resolution * resolution // short // step * step
        if long <= LARGEST_RATIO * short:
            sizes |= {(short, long), (long, short)}
    return sorted(sizes)


def nearest_bucket(height: ArrayLike, width: ArrayLike, sizes: list[tuple[int, int]]) -> np.ndarray:
    """Number of the size with the nearest aspect ratio (by their quotient), for one picture or ``[n]`` of them.

    Quotients are compared as logarithms in float32, of two that are equally near the first one counts.
    """
    ratios = torch.tensor([h / w for h, w in sizes]).log()
    heights, widths = np.atleast_1d(height, width)
    nearest = np.empty(len(heights), np.int16)
    for start in range(0, len(heights), AT_ONCE):
        part = slice(start, start + AT_ONCE)
        wanted = torch.from_numpy(heights[part].astype(np.float64) / widths[part]).float().log()
        nearest[part] = (ratios - wanted[:, None]).abs().argmin(1).numpy()
    return nearest.reshape(np.shape(height))


def scale_to_cover(pixels: Tensor, size: tuple[int, int], interpolation: str = "bicubic") -> Tensor:
    """``[H, W, 3]`` -> the smallest picture of the same aspect ratio that covers ``size``; antialiased.

    Args:
        pixels: uint8 0...255 or float32 0...1, as :meth:`.picture.Picture.values` gives them.
        interpolation: ``bicubic`` or ``bilinear``.

    Returns:
        float32 0...1.
    """
    height, width = pixels.shape[:2]
    factor = max(size[0] / height, size[1] / width)
    scaled = (max(size[0], round(height * factor)), max(size[1], round(width * factor)))
    return scale(pixels, scaled, interpolation).clamp(0, 1)


def centre_crop(pixels: Tensor, size: tuple[int, int]) -> tuple[Tensor, tuple[int, int]]:
    """``[H, W, 3]`` -> its middle ``[h, w, 3]``, and the crop's top and left."""
    top, left = ((length - kept) // 2 for length, kept in zip(pixels.shape[:2], size, strict=True))
    return pixels[top : top + size[0], left : left + size[1]], (top, left)


def other_crop(pixels: Tensor, generator: torch.Generator) -> Tensor:
    """A random part of a picture, 0.6 to 0.9 of each side, in its own scale."""
    share = OTHER_CROP[0] + (OTHER_CROP[1] - OTHER_CROP[0]) * torch.rand(1, generator=generator).item()
    height, width = (max(1, round(share * length)) for length in pixels.shape[:2])
    top, left = (
        int(torch.randint(whole - part + 1, (1,), generator=generator))
        for whole, part in zip(pixels.shape[:2], (height, width), strict=True)
    )
    return pixels[top : top + height, left : left + width]
