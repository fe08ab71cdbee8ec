"""How noisy a picture is: of single pixels, as sensors make it, and of coarser grain, as film has it.

Networks that were trained on whole small pictures take coarse grain for texture; this formula does not. Textures that
cover the whole picture (grass, sand) count as some noise, too, since one picture alone does not tell them apart.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from .formula import Formula

LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601
SCALES = (1, 2, 4)  # pixels of the finest detail that is looked at
MEDIAN = 0.6745  # of the absolute values of a standard normal distribution
HALF = 6.0  # grey levels of noise (standard deviation) at which the score is 50


@torch.no_grad()  # a median has the gradient of one pixel, which guides nothing
def noise(images: Tensor) -> Tensor:
    """``100 (1 - 2^(-sigma / 6))``, sigma the largest over three scales of the noise in grey levels of 255.

    At each scale sigma is the median of the absolute diagonal coefficients of the finest Haar wavelet over 0.6745:
    Donoho and Johnstone, *Ideal spatial adaptation by wavelet shrinkage* (Biometrika 1994).

    Args:
        images: ``[N, 3, H, W]``, sRGB in 0...1, 8 pixels or more on each side.

    Returns:
        ``[N]``, 0 for none, 50 for a standard deviation of 6 grey levels, below 100; lower is better.
    """
    luma = 255 * (images * images.new_tensor(LUMA).view(1, 3, 1, 1)).sum(1, keepdim=True)
    sigma = torch.stack([_sigma(F.avg_pool2d(luma, scale) if scale > 1 else luma) for scale in SCALES])
    return 100 * (1 - torch.exp2(-sigma.amax(0) / HALF))


def _sigma(luma: Tensor) -> Tensor:
    """``[N, 1, H, W]`` -> ``[N]``"""
    even = luma[:, 0, : luma.shape[2] // 2 * 2, : luma.shape[3] // 2 * 2]
    top, bottom = even[:, ::2], even[:, 1::2]
    diagonal = (top[..., ::2] - top[..., 1::2] - bottom[..., ::2] + bottom[..., 1::2]) / 2
    return diagonal.abs().flatten(1).median(1).values / MEDIAN


def net() -> Formula:
    return Formula(noise)
