"""What JPEG loses, in blocks that are a share of the picture: for pictures larger than those with blocks of 8 pixels.

JPEG's blocks have 8 pixels whatever the picture's size, so that one quality looks coarse in a small picture and fine in
a large one. Here the discrete cosine transform has a block of any side B. Its first 8 x 8 frequencies per block are
those of a small picture's 8 x 8 block, and are rounded by the same table; what is finer than that fades.
"""

from __future__ import annotations

import io
import math

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

TABLE = 8  # frequencies across and down for which JPEG has a table
YCBCR = ((0.299, 0.587, 0.114), (-0.168736, -0.331264, 0.5), (0.5, -0.418688, -0.081312))  # JFIF


def compress(image: Tensor, quality: int, block: int, detail: float) -> Tensor:
    """A picture as if compressed in blocks of another size, without chroma subsampling.

    Args:
        image: ``[3, H, W]`` in 0...1.
        quality: JPEG's, 1...100.
        block: B, side of a block in pixels.
        detail: what is kept of frequencies that the table does not know, 0...1.

    Returns:
        ``[3, H, W]``; may leave 0...1 a little.
    """
    colours = torch.tensor(YCBCR, dtype=image.dtype)
    height, width = image.shape[1:]
    planes = torch.einsum("dc,chw->dhw", colours, image) * 255
    planes[0] -= 128
    padded = F.pad(planes[None], (0, -width % block, 0, -height % block), mode="replicate")[0]
    blocks = padded.unflatten(2, (-1, block)).unflatten(1, (-1, block))  # [3, rows, B, columns, B]
    cosines = _cosines(block).to(image.dtype)
    waves = torch.einsum("ui,crikj,vj->crukv", cosines, blocks, cosines)
    known = min(TABLE, block)
    step = (_tables(quality)[:, :known, :known] * (block / TABLE)).to(image.dtype)[:, None, :, None, :]
    coarse = waves[:, :, :known, :, :known]
    rounded = waves * detail
    rounded[:, :, :known, :, :known] = (coarse / step).round() * step
    planes = torch.einsum("ui,crukv,vj->crikj", cosines, rounded, cosines).flatten(3).flatten(1, 2)
    planes = planes[:, :height, :width]
    planes[0] += 128
    return torch.einsum("cd,dhw->chw", torch.linalg.inv(colours), planes) / 255


def _cosines(side: int) -> Tensor:
    """The orthonormal DCT-II, ``[frequency, position]`` float64."""
    places = torch.arange(side, dtype=torch.float64)
    waves = torch.cos(math.pi / side * (places[None] + 0.5) * places[:, None]) * math.sqrt(2 / side)
    waves[0] /= math.sqrt(2)
    return waves


def _tables(quality: int) -> Tensor:
    """JPEG's steps at a quality for luma and the two chroma planes, ``[3, 8, 8]``, from Pillow's own encoder."""
    file = io.BytesIO()
    Image.new("RGB", (TABLE, TABLE)).save(file, "JPEG", quality=quality, subsampling=0)
    luma, chroma = (torch.tensor(list(table)).view(TABLE, TABLE) for table in Image.open(file).quantization.values())
    return torch.stack([luma, chroma, chroma])
