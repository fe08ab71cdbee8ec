"""Filters whose width grows with the picture: as kornia's while they are narrow, by Fourier transform beyond."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ..optional import needed

NARROW = 31  # pixels; a square kernel of this side costs about as much as the transforms


def gaussian(sigma: float) -> Tensor:
    """Kernel ``[1, k, k]`` of three standard deviations on each side."""
    with needed("kornia"):
        import kornia
    size = 2 * -int(-3 * sigma // 1) + 1
    return kornia.filters.get_gaussian_kernel2d((size, size), (sigma, sigma))


def motion(half: float, angle: Tensor) -> Tensor:
    """Kernel ``[1, k, k]`` of a line that reaches ``half`` pixels to both sides, at ``angle`` ``[1]`` in degrees."""
    with needed("kornia"):
        import kornia
    below = int(half)
    longer = kornia.filters.get_motion_kernel2d(2 * below + 3, angle, 0.0)
    shorter = kornia.filters.get_motion_kernel2d(2 * below + 1, angle, 0.0)
    return torch.lerp(F.pad(shorter, (1, 1, 1, 1)), longer, half - below)


def filtered(image: Tensor, kernel: Tensor) -> Tensor:
    """Correlation of ``[1, C, H, W]`` with a wide kernel ``[1, k, k]``, the border repeated; one channel at a time."""
    reach, (height, width) = kernel.shape[-1] // 2, image.shape[-2:]
    padded = F.pad(image, (reach,) * 4, mode="replicate")[0]
    size = padded.shape[-2:]
    response = torch.fft.rfft2(kernel[0].to(image.dtype), s=size).conj()
    channels = [torch.fft.irfft2(torch.fft.rfft2(channel) * response, s=size) for channel in padded]
    return torch.stack(channels)[None, :, :height, :width]
