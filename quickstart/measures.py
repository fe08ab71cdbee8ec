"""Measures of pictures on which nothing here was trained.

Each one is computed of a picture and of the clean scene of the same prompt, and counts as the closeness of the two:
the smaller over the larger, 0…1, 1 is best. A distortion moves the figures up or down (noise raises the Laplacian's
energy, blur lowers it; piqe calls blurred scenes good), so that only the distance from a clean scene tells quality.
Spearman's ρ with full-reference quality on 400 distorted held-out scenes: sharpness 0.81, contrast 0.76, noise 0.76,
blockiness 0.57, piqe 0.49; noise, blockiness and piqe by themselves, lower counting as better: −0.17, 0.04, 0.07.

Pictures are ``[N, 3, H, W]`` in 0…1. Luma is ITU-R BT.601.
"""

from __future__ import annotations

import kornia
import numpy as np
import pyiqa
import torch
from skimage.restoration import estimate_sigma

JPEG_BLOCK = 8
SMALLEST = 1e-6  # of the figures that are compared; below it all are alike


def sharpness(pictures: torch.Tensor) -> torch.Tensor:
    """``[N]``: mean squared Laplacian of the luma."""
    return kornia.filters.laplacian(_luma(pictures), 3).square().mean((1, 2, 3))


def contrast(pictures: torch.Tensor) -> torch.Tensor:
    """``[N]``: standard deviation of the luma (RMS contrast)."""
    return _luma(pictures).flatten(1).std(1)


def noise(pictures: torch.Tensor) -> torch.Tensor:
    """``[N]``: noise σ in grey levels, by the median of the diagonal wavelet coefficients.

    Donoho and Johnstone, *Ideal spatial adaptation by wavelet shrinkage* (Biometrika 1994), in scikit-image.
    """
    images = pictures.movedim(1, -1).numpy()
    return torch.tensor([255 * estimate_sigma(image, channel_axis=-1, average_sigmas=True) for image in images])


def blockiness(pictures: torch.Tensor) -> torch.Tensor:
    """``[N]``: luma steps across the borders of 8×8 blocks over those inside, less 1, absolute.

    After Wang, Sheikh and Bovik, *No-reference perceptual quality assessment of JPEG compressed images* (ICIP 2002).
    """
    luma, excess = _luma(pictures)[:, 0], []
    for steps in (luma.diff(dim=2).abs().mean(1), luma.diff(dim=1).abs().mean(2)):
        border = torch.arange(steps.shape[1]) % JPEG_BLOCK == JPEG_BLOCK - 1
        excess.append(steps[:, border].mean(1) / steps[:, ~border].mean(1).clamp_min(1e-6) - 1)
    return torch.stack(excess).mean(0).abs()


def piqe(pictures: torch.Tensor) -> torch.Tensor:
    """``[N]``, 0…100: Venkatanath et al., *Blind image quality evaluation using perception based
    features* (NCC 2015), in pyiqa."""
    metric = pyiqa.create_metric("piqe", device="cpu")
    return torch.cat([metric(part).flatten() for part in pictures.split(64)])


UNTRAINED = {"sharpness": sharpness, "contrast": contrast, "noise": noise, "blockiness": blockiness, "piqe": piqe}


def closeness(name: str, pictures: torch.Tensor, clean: torch.Tensor) -> torch.Tensor:
    """``[N]``, 0…1, 1 is best: how near a measure of pictures is to that of the clean scenes of their prompts."""
    value, expected = (UNTRAINED[name](each).clamp_min(SMALLEST) for each in (pictures, clean))
    return (-(value / expected).log().abs()).exp()


def untrained_measures(pictures: torch.Tensor, clean: torch.Tensor) -> dict[str, float]:
    """Mean closeness of each measure over the pictures."""
    return {name: float(np.nanmean(closeness(name, pictures, clean))) for name in UNTRAINED}


def gain(measured: float, base: float) -> float:
    """Relative improvement over the base model, as the paper reports it; positive is better."""
    return (measured - base) / base


def _luma(pictures: torch.Tensor) -> torch.Tensor:
    return kornia.color.rgb_to_grayscale(pictures)
