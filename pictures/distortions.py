"""Distortions with a continuous severity, on the scale of the picture.

Lengths (blur width, displacement, side of blocks, grain) are fractions of the shorter side, so that a severity means
the same to the eye in a 64-pixel scene and in a large photo: seen at one size, both look alike. Pictures of 64 pixels
are the measure: their noise is drawn pixel by pixel, and their JPEG is JPEG, with eight blocks on the shorter side.
"""

from __future__ import annotations

import io
import math

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from ..optional import needed
from .blocks import compress
from .filters import NARROW, filtered, gaussian, motion

MEASURE, BLOCK = 64, 8  # pixels: shorter side at which noise is white, and side of JPEG's blocks there
KINDS = (
    "clean",
    "gaussian_blur",
    "motion_blur",
    "white_noise",
    "jpeg",
    "pixelation",
    "colour_shift",
    "contrast_loss",
)


def distort(
    images: torch.Tensor,
    kind: str,
    severity: float | torch.Tensor,
    generator: torch.Generator | None = None,
) -> torch.Tensor:
    """Distort pictures.

    Args:
        images: ``[N, 3, H, W]`` in 0…1.
        kind: one of ``KINDS``.
        severity: one number or ``[N]`` numbers in 0…1; 0 leaves a picture as it is.
        generator: draws the noise, the direction of motion and the direction of displacement.

    Returns:
        ``[N, 3, H, W]`` in 0…1.

    Raises:
        ValueError: unknown kind, or a severity outside 0…1.
    """
    if kind not in KINDS:
        raise ValueError(f"Unknown distortion {kind!r}; expected one of {', '.join(KINDS)}.")
    severity = torch.as_tensor(severity, dtype=images.dtype).expand(len(images))
    if not bool(((severity >= 0) & (severity <= 1)).all()):
        raise ValueError(f"Severity must lie in 0…1, got {severity.min().item():g}…{severity.max().item():g}.")
    if kind == "clean":
        return images.clone()
    images = images.contiguous()  # kornia before 0.9 (the last for Python 3.10 is 0.8.2) views what it blurs
    distorted = _DISTORTIONS[kind](images, severity, generator).clamp(0, 1)
    return torch.where(severity.view(-1, 1, 1, 1) > 0, distorted, images)


def distort_randomly(
    images: torch.Tensor, clean_share: float, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Leave a share of the pictures clean and give each of the others one distortion of uniform severity.

    Returns:
        Pictures ``[N, 3, H, W]``, the index of each one's kind in ``KINDS`` ``[N]``, severities ``[N]`` (clean: 0).
    """
    kinds = torch.randint(1, len(KINDS), (len(images),), generator=generator)
    kinds[torch.rand(len(images), generator=generator) < clean_share] = 0
    severity = torch.rand(len(images), generator=generator) * (kinds > 0)
    pictures = images.clone()
    for index in kinds.unique().tolist():
        chosen = kinds == index
        pictures[chosen] = distort(images[chosen], KINDS[index], severity[chosen], generator)
    return pictures, kinds, severity


def _side(images: torch.Tensor) -> int:
    return min(images.shape[-2:])


def _angles(count: int, generator: torch.Generator | None) -> torch.Tensor:
    """Directions in degrees, ``[count]``."""
    return torch.rand(count, generator=generator) * 360


def _gaussian_blur(images, severity, generator):
    with needed("kornia"):
        import kornia
    sigma = (severity * 0.04 * _side(images)).clamp_min(1e-3)
    size = 2 * math.ceil(3 * float(sigma.max())) + 1
    if size > NARROW:
        return torch.cat([filtered(image[None], gaussian(s)) for image, s in zip(images, sigma.tolist(), strict=True)])
    return kornia.filters.gaussian_blur2d(images, (size, size), sigma[:, None].expand(-1, 2), border_type="replicate")


def _motion_blur(images, severity, generator):
    """Uniform motion; lengths between two odd kernel sizes are blends of both, so that length is continuous."""
    with needed("kornia"):
        import kornia
    half = severity * 0.11 * _side(images)
    angle = _angles(len(images), generator)
    blurred = torch.empty_like(images)
    for i, h in enumerate(half.tolist()):
        image, below = images[i : i + 1], int(h)
        if 2 * below + 3 > NARROW:
            blurred[i] = filtered(image, motion(h, angle[i : i + 1]))[0]
            continue
        shorter, longer = (
            kornia.filters.motion_blur(image, 2 * n + 1, angle[i : i + 1], 0.0, "replicate") if n else image
            for n in (below, below + 1)
        )
        blurred[i] = torch.lerp(shorter, longer, h - below)[0]
    return blurred


def _white_noise(images, severity, generator):
    """Grains of a 64th of the shorter side, white where that is a pixel."""
    cells = [round(length * MEASURE / max(MEASURE, _side(images))) for length in images.shape[-2:]]
    noise = torch.randn(*images.shape[:2], *cells, generator=generator, dtype=images.dtype)
    if noise.shape != images.shape:
        smooth = F.interpolate(noise, images.shape[-2:], mode="bicubic")
        noise = smooth / F.adaptive_avg_pool2d(smooth, cells).std()  # as strong as white noise, seen at 64 pixels
    return images + 0.25 * severity.view(-1, 1, 1, 1) * noise


def _jpeg(images, severity, generator):
    """Quality 95 down to 4, without chroma subsampling, which would be a loss at every quality."""
    block = max(1, round(_side(images) * BLOCK / MEASURE))
    compressed = []
    for image, s in zip(images, severity.tolist(), strict=True):
        quality = round(4 + 91 * (1 - s) ** 1.5)
        by_itself = block > BLOCK
        compressed.append(compress(image, quality, block, (1 - s) ** 2) if by_itself else _saved(image, quality))
    return torch.stack(compressed)


def _saved(image, quality):
    """``[3, H, W]`` in 0...1, saved as JPEG and opened again."""
    pixels = (image.movedim(0, -1) * 255).round().clamp(0, 255).byte().numpy()
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=quality, subsampling=0)
    return torch.from_numpy(np.array(Image.open(file))).movedim(-1, 0).to(image.dtype) / 255


def _pixelation(images, severity, generator):
    """Blocks from a pixel to 12 % of the side; in large pictures soon as large as a small picture's pixels."""
    size, side = images.shape[-2:], _side(images)
    pixel = max(1, side / MEASURE)  # of the small picture
    blocks = []
    for image, s in zip(images, severity.tolist(), strict=True):
        block = pixel * (1 + s * (0.12 * side / pixel - 1)) - (pixel - 1) * (1 - s) ** 8
        cells = [max(1, round(length / block)) for length in size]
        blocks.append(F.interpolate(F.adaptive_avg_pool2d(image[None], cells), size, mode="nearest-exact"))
    return torch.cat(blocks)


def _colour_shift(images, severity, generator):
    """Red moves one way, blue the other, green stays."""
    with needed("kornia"):
        import kornia
    angle = torch.deg2rad(_angles(len(images), generator))
    offset = torch.stack([angle.cos(), angle.sin()], 1) * (severity * 0.06 * _side(images))[:, None]
    red, green, blue = images.split(1, 1)
    translate = kornia.geometry.translate
    return torch.cat(
        [translate(red, offset, padding_mode="border"), green, translate(blue, -offset, padding_mode="border")], 1
    )


def _contrast_loss(images, severity, generator):
    with needed("kornia"):
        import kornia
    return kornia.enhance.adjust_contrast_with_mean_subtraction(images, 1 - 0.85 * severity)


_DISTORTIONS = {
    "gaussian_blur": _gaussian_blur,
    "motion_blur": _motion_blur,
    "white_noise": _white_noise,
    "jpeg": _jpeg,
    "pixelation": _pixelation,
    "colour_shift": _colour_shift,
    "contrast_loss": _contrast_loss,
}
