"""Colourfulness, the computed measure of the "aesthetics" axis."""

from __future__ import annotations

import torch

from .formula import Formula


def colourfulness(images: torch.Tensor) -> torch.Tensor:
    """M³ of Hasler and Süsstrunk, *Measuring colourfulness in natural images* (SPIE 2003), eqs. 1…3.

    Args:
        images: ``[N, 3, H, W]``, sRGB in 0…1.

    Returns:
        ``[N]``; 0 for grey, about 15 slightly, 33 moderately, 59 quite, 109 extremely colourful.
    """
    red, green, blue = (255 * images.double()).unbind(1)
    rg, yb = (red - green).flatten(1), ((red + green) / 2 - blue).flatten(1)
    spread = torch.hypot(rg.std(1, correction=0), yb.std(1, correction=0))
    return (spread + 0.3 * torch.hypot(rg.mean(1), yb.mean(1))).to(images.dtype)


def net() -> Formula:
    return Formula(colourfulness)
