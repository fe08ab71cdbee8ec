"""Entropy of the luminance histogram, as pyiqa defines it (and MATLAB's ``entropy``), without its memory.

pyiqa counts with one number per pixel and grey level, 2 kB per pixel; a histogram needs a few bytes.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .formula import Formula

LUMINANCE = (0.299, 0.587, 0.114)  # Y of YIQ
LEVELS = 256
EPSILON = 1e-8  # pyiqa's, inside the logarithm


def entropy(images: Tensor) -> Tensor:
    """``- sum p log2 p`` in bits over the 256 grey levels.

    Args:
        images: ``[N, 3, H, W]``, sRGB in 0...1.

    Returns:
        ``[N]``, 0 for one level, 8 where all are equally frequent.
    """
    weights = images.new_tensor(LUMINANCE)
    grey = (images.movedim(1, -1) @ weights * (LEVELS - 1)).round().long().flatten(1)
    counts = torch.stack([picture.bincount(minlength=LEVELS) for picture in grey])
    share = counts / counts.sum(1, keepdim=True)
    return -(share * torch.log2(share + EPSILON)).sum(1)


def net() -> Formula:
    return Formula(entropy)
