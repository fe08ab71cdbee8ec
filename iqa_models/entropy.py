"""Entropy of the luminance histogram, as pyiqa defines it (and MATLAB's ``entropy``), without its memory.

pyiqa counts with one number per pixel and grey level, 2 kB per pixel; a histogram needs a few bytes.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .formula import Formula

YIQ = ((0.299, 0.587, 0.114), (0.5959, -0.2746, -0.3213), (0.2115, -0.5227, 0.3112))
LEVELS = 256
EPSILON = 1e-8  # pyiqa's, inside the logarithm


def entropy(images: Tensor) -> Tensor:
    """``- sum p log2 p`` in bits over the 256 grey levels.

    Args:
        images: ``[N, 3, H, W]``, sRGB in 0...1.

    Returns:
        ``[N]``, 0 for one level, 8 where all are equally frequent.
    """
    yiq = images.movedim(1, -1) @ images.new_tensor(YIQ).T  # only Y is used, but computed alone it rounds otherwise
    grey = (yiq[..., 0] * (LEVELS - 1)).round().long().flatten(1)
    counts = torch.stack([picture.bincount(minlength=LEVELS) for picture in grey])
    share = counts / counts.sum(1, keepdim=True)
    return -(share * torch.log2(share + EPSILON)).sum(1)


def net() -> Formula:
    return Formula(entropy)
