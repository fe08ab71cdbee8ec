"""Measures of pictures on which nothing here was trained, each defined before it was first measured.

Pictures are ``[N, 3, H, W]`` in 0…1; ``clean`` are the rendered scenes of the same prompts. Luma is ITU-R BT.601.
"""

from __future__ import annotations

import kornia
import numpy as np
import pyiqa
import torch
from skimage.restoration import estimate_sigma

JPEG_BLOCK = 8


def sharpness(pictures: torch.Tensor, clean: torch.Tensor) -> torch.Tensor:
    """``[N]``, 1 is best: mean squared Laplacian of the luma relative to the clean scene's, or its inverse if above 1.

    Blur lowers the energy and noise raises it; both are departures from a clean scene.
    """
    energy, expected = (kornia.filters.laplacian(_luma(each), 3).square().mean((1, 2, 3)) for each in (pictures, clean))
    return _closeness(energy, expected)


def contrast(pictures: torch.Tensor, clean: torch.Tensor) -> torch.Tensor:
    """``[N]``, 1 is best: standard deviation of the luma relative to the clean scene's, or its inverse if above 1."""
    return _closeness(*(_luma(each).flatten(1).std(1) for each in (pictures, clean)))


def noise(pictures: torch.Tensor, _clean: torch.Tensor) -> torch.Tensor:
    """``[N]``, lower is better: noise σ in grey levels, by the median of the diagonal wavelet coefficients.

    Donoho and Johnstone, *Ideal spatial adaptation by wavelet shrinkage* (Biometrika 1994), in scikit-image.
    """
    images = pictures.movedim(1, -1).numpy()
    return torch.tensor([255 * estimate_sigma(image, channel_axis=-1, average_sigmas=True) for image in images])


def blockiness(pictures: torch.Tensor, _clean: torch.Tensor) -> torch.Tensor:
    """``[N]``, lower is better: luma steps across the borders of 8×8 blocks over those inside, less 1, absolute.

    After Wang, Sheikh and Bovik, *No-reference perceptual quality assessment of JPEG compressed images* (ICIP 2002).
    """
    luma, excess = _luma(pictures)[:, 0], []
    for steps in (luma.diff(dim=2).abs().mean(1), luma.diff(dim=1).abs().mean(2)):
        border = torch.arange(steps.shape[1]) % JPEG_BLOCK == JPEG_BLOCK - 1
        excess.append(steps[:, border].mean(1) / steps[:, ~border].mean(1).clamp_min(1e-6) - 1)
    return torch.stack(excess).mean(0).abs()


def piqe(pictures: torch.Tensor, _clean: torch.Tensor) -> torch.Tensor:
    """``[N]``, 0…100, lower is better: Venkatanath et al., *Blind image quality evaluation using perception based
    features* (NCC 2015), in pyiqa."""
    metric = pyiqa.create_metric("piqe", device="cpu")
    return torch.cat([metric(part).flatten() for part in pictures.split(64)])


UNTRAINED = {"sharpness": sharpness, "contrast": contrast, "noise": noise, "blockiness": blockiness, "piqe": piqe}
HIGHER_IS_BETTER = {"sharpness", "contrast"}


def untrained_measures(pictures: torch.Tensor, clean: torch.Tensor) -> dict[str, float]:
    """Mean of each measure over the pictures."""
    return {name: float(np.nanmean(measure(pictures, clean))) for name, measure in UNTRAINED.items()}


def gain(measured: float, base: float, name: str) -> float:
    """Relative improvement of a measure over the base model's, as the paper reports it; positive is better."""
    return (measured - base) / base * (1 if name in HIGHER_IS_BETTER else -1)


def _luma(pictures: torch.Tensor) -> torch.Tensor:
    return kornia.color.rgb_to_grayscale(pictures)


def _closeness(value: torch.Tensor, expected: torch.Tensor) -> torch.Tensor:
    ratio = (value.clamp_min(1e-8) / expected.clamp_min(1e-8)).log().abs()
    return (-ratio).exp()
