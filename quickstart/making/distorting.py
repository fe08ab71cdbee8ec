"""The distortions of :mod:`...pictures.distortions` for many scenes at once, on any device.

Training on a GPU wants thousands of distorted pictures a second. Nothing here waits for the device: every kind is a
few products of matrices, JPEG's is the cosine transform of its 8×8 blocks. The pictures are those of
:func:`...pictures.distortions.distort` but for rounding.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from ..rendering import SIZE

_RADIUS = math.ceil(0.11 * SIZE) + 1  # of the longest motion
_LUMA = (0.299, 0.587, 0.114)
# Annex K of ITU-T T.81: quantisation at quality 50
_LUMA_TABLE = (
    (16, 11, 10, 16, 24, 40, 51, 61), (12, 12, 14, 19, 26, 58, 60, 55), (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62), (18, 22, 37, 56, 68, 109, 103, 77), (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101), (72, 92, 95, 98, 112, 100, 103, 99),
)  # fmt: skip
_CHROMA_TABLE = (
    (17, 18, 24, 47, 99, 99, 99, 99), (18, 21, 26, 66, 99, 99, 99, 99), (24, 26, 56, 99, 99, 99, 99, 99),
    (47, 66, 99, 99, 99, 99, 99, 99), *((99,) * 8,) * 4,
)  # fmt: skip


def distort_scenes(
    kind: str, pictures: Tensor, severity: Tensor, direction: Tensor, generator: torch.Generator
) -> Tensor:
    """Pictures of one kind of distortion.

    Args:
        kind: one of ``KINDS``.
        pictures: ``[N, 3, 64, 64]`` in 0…1.
        severity: ``[N]`` in 0…1.
        direction: ``[N]`` in degrees, of motion and displacement; without meaning for other kinds.
        generator: of the pictures' device; draws the noise.
    """
    return _KINDS[kind](pictures, severity, direction, generator).clamp(0, 1)


def _clean(pictures, severity, direction, generator):
    return pictures


def _gaussian_blur(pictures, severity, direction, generator):
    sigma = (severity * 0.04 * SIZE).clamp_min(1e-3)
    reach = math.ceil(3 * 0.04 * SIZE)
    offsets = torch.arange(-reach, reach + 1, device=pictures.device)
    weights = (-(offsets**2) / (2 * sigma[:, None] ** 2)).exp()
    rows = _convolution(weights / weights.sum(1, keepdim=True), offsets)[:, None]
    return rows @ pictures @ rows.mT


def _convolution(weights: Tensor, offsets: Tensor) -> Tensor:
    """Matrices ``[N, 64, 64]`` of filters ``[N, K]``; what lies outside is as the border."""
    places = torch.arange(SIZE, device=weights.device)
    sources = (places[:, None] + offsets).clamp(0, SIZE - 1)
    matrix = weights.new_zeros(len(weights), SIZE, SIZE)
    return matrix.scatter_add_(2, sources.expand(len(weights), -1, -1), weights[:, None].expand(-1, SIZE, -1))


def _motion_blur(pictures, severity, direction, generator):
    """Uniform motion; lengths between two odd kernel sizes are blends of both, so that length is continuous."""
    half = severity * 0.11 * SIZE
    below = half.floor()
    shorter, longer = (_line(length, direction) for length in (below, below + 1))
    kernels = torch.lerp(shorter, longer, (half - below)[:, None, None])
    padded = F.pad(pictures, [_RADIUS] * 4, mode="replicate").flatten(0, 1)[None]
    blurred = F.conv2d(padded, kernels.repeat_interleave(3, 0)[:, None], groups=3 * len(pictures))
    return blurred.view_as(pictures)


def _line(half: Tensor, direction: Tensor) -> Tensor:
    """Kernels ``[N, K, K]`` of a line through the centre: ``half`` places to both sides, then turned."""
    angle = torch.deg2rad(direction)[:, None, None]
    y, x = torch.meshgrid(*[torch.arange(-_RADIUS, _RADIUS + 1, device=half.device)] * 2, indexing="ij")
    along = (x * angle.cos() - y * angle.sin()).round()
    across = (x * angle.sin() + y * angle.cos()).round()
    inside = torch.maximum(x.abs(), y.abs()) <= half[:, None, None]
    line = ((across == 0) & (along.abs() <= half[:, None, None]) & inside).float()
    return line / line.sum((1, 2), keepdim=True)


def _white_noise(pictures, severity, direction, generator):
    noise = torch.randn(pictures.shape, generator=generator, device=pictures.device)
    return pictures + 0.25 * severity[:, None, None, None] * noise


def _jpeg(pictures, severity, direction, generator):
    quality = (4 + 91 * (1 - severity) ** 1.5).round()
    scale = torch.where(quality < 50, (5000 / quality).floor(), 200 - 2 * quality)
    tables = pictures.new_tensor([_LUMA_TABLE, _CHROMA_TABLE, _CHROMA_TABLE])
    steps = ((tables * scale[:, None, None, None] + 50) / 100).floor().clamp(1, 255)[:, :, None, None]
    blocks = (_to_ycc((pictures * 255).round()).round() - 128).unfold(2, 8, 8).unfold(3, 8, 8)
    cosines = _cosine_transform(pictures.device)
    coefficients = ((cosines @ blocks @ cosines.T) / steps).round() * steps
    restored = (cosines.T @ coefficients @ cosines + 128).round().clamp(0, 255)
    return _to_rgb(restored.transpose(3, 4).reshape(pictures.shape)).round().clamp(0, 255) / 255


def _cosine_transform(device: torch.device) -> Tensor:
    """The orthogonal DCT-II of 8 values."""
    places = torch.arange(8, device=device)
    matrix = (math.pi / 8 * places[:, None] * (places + 0.5)).cos() / 2
    return torch.cat([matrix[:1] / math.sqrt(2), matrix[1:]])


def _to_ycc(rgb: Tensor) -> Tensor:
    red, green, blue = rgb.unbind(1)
    luma = _LUMA[0] * red + _LUMA[1] * green + _LUMA[2] * blue
    return torch.stack([luma, (blue - luma) / 1.772 + 128, (red - luma) / 1.402 + 128], 1)


def _to_rgb(ycc: Tensor) -> Tensor:
    luma, blue, red = ycc.unbind(1)
    red, blue = luma + 1.402 * (red - 128), luma + 1.772 * (blue - 128)
    return torch.stack([red, (luma - _LUMA[0] * red - _LUMA[2] * blue) / _LUMA[1], blue], 1)


def _pixelation(pictures, severity, direction, generator):
    """Means of cells, each from floor(i·64/n) to ceil((i+1)·64/n) of n cells, then each place takes its nearest."""
    cells = (SIZE / (1 + severity * (0.12 * SIZE - 1))).round().clamp_min(1)[:, None, None]
    places = torch.arange(SIZE, device=pictures.device)
    cell = ((places + 0.5) * cells / SIZE).floor()[:, 0, :, None]
    first, end = (cell * SIZE / cells).floor(), ((cell + 1) * SIZE / cells).ceil()
    members = ((places >= first) & (places < end)).float()
    means = (members / members.sum(2, keepdim=True))[:, None]
    return means @ pictures @ means.mT


def _colour_shift(pictures, severity, direction, generator):
    """Red moves one way, blue the other, green stays."""
    angle = torch.deg2rad(direction)
    reach = severity * 0.06 * SIZE
    colours = torch.tensor([1.0, 0.0, -1.0], device=pictures.device)
    rows, columns = (_shift(reach * along, colours) for along in (angle.sin(), angle.cos()))
    return rows @ pictures @ columns.mT


def _shift(distance: Tensor, colours: Tensor) -> Tensor:
    """Matrices ``[N, 3, 64, 64]`` that move by ``[N]`` places times each colour's factor, between places linearly."""
    places = torch.arange(SIZE, device=distance.device)
    sources = (places - (distance[:, None] * colours)[..., None]).clamp(0, SIZE - 1)
    return (1 - (sources[..., None] - places).abs()).clamp_min(0)


def _contrast_loss(pictures, severity, direction, generator):
    factor = (1 - 0.85 * severity)[:, None, None, None]
    weights = torch.tensor(_LUMA, device=pictures.device)[:, None, None]
    mean = (pictures * weights).sum(1, keepdim=True).mean((2, 3), keepdim=True)
    return pictures * factor + mean * (1 - factor)


_KINDS = {
    "clean": _clean,
    "gaussian_blur": _gaussian_blur,
    "motion_blur": _motion_blur,
    "white_noise": _white_noise,
    "jpeg": _jpeg,
    "pixelation": _pixelation,
    "colour_shift": _colour_shift,
    "contrast_loss": _contrast_loss,
}
