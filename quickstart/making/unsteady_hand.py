"""Distorted scenes as the tiny model would draw them: with uneven outlines and some grain left in the picture."""

from __future__ import annotations

import torch
from kornia.augmentation import RandomElasticTransform

from ..distortions import distort_randomly

GRAIN = 0.03  # largest standard deviation; 0.12 of that of the severest white noise


class UnsteadyHand:
    """Displaces by 1.0 pixel (standard deviation) before a distortion and by a third of one after it, and adds grain.

    Displacements are much the same within 3 pixels. The grain's standard deviation is even in 0…``GRAIN``.

    Args:
        share: of the pictures that are displaced, 0…1; before and after independently.
    """

    def __init__(self, share: float):
        even = {"kernel_size": (17, 17), "sigma": (3.0, 3.0), "resample": "BICUBIC", "padding_mode": "reflection"}
        self.outlines = RandomElasticTransform(alpha=(0.6, 0.6), p=share, **even)
        self.details = RandomElasticTransform(alpha=(0.2, 0.2), p=share, **even)

    def distort_randomly(
        self, images: torch.Tensor, clean_share: float, generator: torch.Generator
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """As :func:`.distortions.distort_randomly`. The displacements are drawn by torch's own generator."""
        pictures, kinds, severity = distort_randomly(self.outlines(images).clamp(0, 1), clean_share, generator)
        deviation = GRAIN * torch.rand(len(images), 1, 1, 1, generator=generator)
        grain = deviation * torch.randn(images.shape, generator=generator)
        return (self.details(pictures) + grain).clamp(0, 1), kinds, severity
