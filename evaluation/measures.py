"""Measures of pictures on which nothing here was trained.

Each one is the mean over the pictures of a prompt, beside the mean over clean scenes of the same prompt with other
seeds, and counts as the closeness of the two: the smaller over the larger, 0…1, 1 is best. A distortion moves the
figures up or down (noise raises the Laplacian's energy, blur lowers it; piqe calls blurred scenes good), so that only
the distance from clean scenes measures quality. On 100 held-out prompts with eight scenes each, one distortion of one
severity for each prompt, Spearman's rho with full-reference quality: sharpness 0.83, contrast 0.67, noise 0.78,
blockiness 0.37, piqe 0.29.

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
    """``[N]``: noise's sigma in grey levels, by the median of the diagonal wavelet coefficients.

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


def closeness(name: str, pictures: torch.Tensor, clean: torch.Tensor, seeds: int) -> torch.Tensor:
    """How near the mean of a measure over the pictures of a prompt is to that over clean scenes of the prompt.

    Args:
        pictures, clean: ``[prompts · seeds, 3, H, W]``, prompt by prompt.
        seeds: pictures of each prompt.

    Returns:
        ``[prompts]``, 0…1, 1 is best.
    """
    means = (UNTRAINED[name](each).unflatten(0, (-1, seeds)).nanmean(1) for each in (pictures, clean))
    value, expected = (mean.clamp_min(SMALLEST) for mean in means)
    return (-(value / expected).log().abs()).exp()


def untrained_measures(pictures: torch.Tensor, clean: torch.Tensor, seeds: int) -> dict[str, float]:
    """Closeness of each measure, mean over the prompts."""
    return {name: float(np.nanmean(closeness(name, pictures, clean, seeds))) for name in UNTRAINED}


def gain(measured: float, base: float) -> float:
    """Relative improvement over the base model, as the paper reports it; positive is better."""
    return (measured - base) / base


def _luma(pictures: torch.Tensor) -> torch.Tensor:
    return kornia.color.rgb_to_grayscale(pictures)
