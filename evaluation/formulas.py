"""Measures of pictures by formula, on which nothing was trained.

What is best for them is not the least or the most: noise raises the Laplacian's energy and blur lowers it, so that only
the nearness to clean scenes of the same prompt tells quality (:func:`closeness`). On 100 held-out prompts of the
quickstart with eight scenes each, one distortion of one severity for each prompt, Spearman's rho of the closeness with
full-reference quality: sharpness 0.83, contrast 0.67, noise 0.78, blockiness 0.37, piqe 0.29.

Pictures are ``[N, 3, H, W]`` in 0…1. Luma is ITU-R BT.601.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F

from ..optional import needed

JPEG_BLOCK = 8
SMALLEST = 1e-6  # of the figures that are compared; below it all are alike
COARSE = 16  # side of the small pictures that stand for what a picture shows where no network reads it


def sharpness(pictures: torch.Tensor) -> torch.Tensor:
    """``[N]``: mean squared Laplacian of the luma."""
    with needed("kornia"):
        import kornia
    return kornia.filters.laplacian(_luma(pictures), 3).square().mean((1, 2, 3))


def contrast(pictures: torch.Tensor) -> torch.Tensor:
    """``[N]``: standard deviation of the luma (RMS contrast)."""
    return _luma(pictures).flatten(1).std(1)


def noise(pictures: torch.Tensor) -> torch.Tensor:
    """``[N]``: noise's sigma in grey levels, by the median of the diagonal wavelet coefficients.

    Donoho and Johnstone, *Ideal spatial adaptation by wavelet shrinkage* (Biometrika 1994), in scikit-image.
    """
    with needed("PyWavelets"):
        import pywt  # noqa: F401  of scikit-image's function
    with needed("skimage"):
        from skimage.restoration import estimate_sigma
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


def clipped(pictures: torch.Tensor) -> torch.Tensor:
    """``[N]``: share of values at the ends of the range, below 1/255 or above 254/255: burnt highlights and shadows."""
    return ((pictures < 1.5 / 255) | (pictures > 253.5 / 255)).float().mean((1, 2, 3))


def coarse(pictures: torch.Tensor) -> torch.Tensor:
    """``[N, 768]``: the picture reduced to 16×16 pixels."""
    return F.interpolate(pictures, (COARSE, COARSE), mode="area").flatten(1)


FORMULAS = {"sharpness": sharpness, "contrast": contrast, "noise": noise, "blockiness": blockiness,
            "clipped": clipped, "coarse": coarse}  # fmt: skip


def closeness(values: np.ndarray, clean: np.ndarray) -> np.ndarray:
    """How near the mean of a measure over the pictures of a prompt is to that over clean scenes of the prompt.

    Args:
        values, clean: ``[prompts, pictures of each]``.

    Returns:
        ``[prompts]``: the smaller mean over the larger, 0…1, 1 is best.
    """
    value, expected = (np.maximum(np.nanmean(each, 1), SMALLEST) for each in (values, clean))
    return np.exp(-np.abs(np.log(value / expected)))


def _luma(pictures: torch.Tensor) -> torch.Tensor:
    red, green, blue = pictures.split(1, 1)
    return 0.299 * red + 0.587 * green + 0.114 * blue
