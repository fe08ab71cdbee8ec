"""Degradations as people know them: one distortion, or several after each other."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from .distortions import distort

LOOKS: dict[str, tuple[tuple[str, float], ...]] = {  # name -> distortions in order, each with a share of the severity
    "blur": (("gaussian_blur", 1.0),),
    "motion blur": (("motion_blur", 1.0),),
    "noise": (("white_noise", 1.0),),
    "JPEG": (("jpeg", 1.0),),
    "pixelation": (("pixelation", 1.0),),
    "colour shift": (("colour_shift", 1.0),),
    "contrast loss": (("contrast_loss", 1.0),),
    "old JPEG": (("pixelation", 0.2), ("contrast_loss", 0.2), ("jpeg", 0.95)),
    "phone at night": (("motion_blur", 0.3), ("contrast_loss", 0.4), ("white_noise", 0.5), ("jpeg", 0.5)),
    "film grain": (("gaussian_blur", 0.08), ("contrast_loss", 0.2), ("white_noise", 0.35)),
    "VHS": (("gaussian_blur", 0.3), ("colour_shift", 0.4), ("contrast_loss", 0.3), ("white_noise", 0.2)),
    "thumbnail": (("pixelation", 0.6), ("jpeg", 0.6)),
}


def degrade(images: Tensor, look: str, severity: float, seeds: Sequence[int]) -> Tensor:
    """Give pictures a look, one picture at a time.

    Args:
        images: ``[N, 3, H, W]`` in 0...1.
        look: a key of :data:`LOOKS`.
        severity: 0...1; 0 leaves the pictures as they are.
        seeds: one per picture; each draws the noise, and the directions of motion and displacement.

    Returns:
        ``[N, 3, H, W]`` in 0...1.
    """
    made = []
    for image, seed in zip(images.split(1), seeds, strict=True):
        generator = torch.Generator().manual_seed(seed)
        for kind, share in LOOKS[look]:
            image = distort(image, kind, severity * share, generator)
        made.append(image)
    return torch.cat(made)
