"""Pictures side by side: with captions for people to read, without for sheets, and below each other."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw, ImageFont

from ..files import written_whole
from .score_lines import ScoreLine, draw_score, wrapped
from .score_lines import height as score_height

MARGIN, LEAST_SIDE, LARGEST = 8, 128, 8192


def labelled_grid(
    images: torch.Tensor,
    captions: Sequence[str],
    columns: int = 0,
    zoom: int = 0,
    scores: Sequence[Sequence[ScoreLine]] = (),
    largest: int = LARGEST,
) -> torch.Tensor:
    """One picture of all of them.

    Args:
        images: ``[N, H, W, 3]`` in 0…1.
        captions: one per picture, of one or more lines; fewer leave the last pictures without.
        columns: pictures per row; 0 makes the grid about square.
        zoom: whole factor by which every picture is enlarged without smoothing; 0 chooses, so that small pictures have
            at least 128 pixels on each side.
        largest: pixels that a side of the grid may have.
        scores: of every picture, below its caption; none, or as many as pictures.

    Returns:
        ``[1, height, width, 3]`` in 0…1.

    Raises:
        ValueError: the grid would be larger.
    """
    count, height, width, _ = images.shape
    columns = min(count, columns or math.ceil(math.sqrt(count)))
    zoom = zoom or math.ceil(LEAST_SIDE / min(height, width, LEAST_SIDE))
    wide = width * zoom
    font = ImageFont.load_default(max(12, wide // 12))
    captions = [wrapped(caption, font, wide) for caption in captions]
    line = sum(font.getmetrics())
    text = line * max((caption.count("\n") + 1 for caption in captions if caption), default=0)
    below = max((sum(score_height(score, font, wide) for score in lines) for lines in scores), default=0)
    cell = wide + MARGIN, height * zoom + text + below + MARGIN
    size = columns * cell[0] + MARGIN, math.ceil(count / columns) * cell[1] + MARGIN
    if max(size) > largest:
        raise ValueError(
            f"The grid would be {size[0]} x {size[1]} pixels, more than {largest}. Use fewer or smaller pictures."
        )
    canvas = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(canvas)
    for number, image in enumerate(images):
        row, column = divmod(number, columns)
        left, top = MARGIN + column * cell[0], MARGIN + row * cell[1]
        pixels = Image.fromarray(_bytes(image[..., :3]))
        canvas.paste(pixels.resize((wide, height * zoom), Image.Resampling.NEAREST), (left, top))
        top += height * zoom
        if number < len(captions):
            draw.multiline_text((left, top), captions[number], "black", font, spacing=0)
        top += text
        for score in scores[number] if scores else ():
            draw_score(draw, left, top, wide, score, font)
            top += score_height(score, font, wide)
    return torch.from_numpy(np.asarray(canvas, np.float32) / 255)[None]


def sheet(images: torch.Tensor, columns: int, zoom: int = 1) -> torch.Tensor:
    """Pictures without captions and margins, row by row.

    Args:
        images: ``[rows · columns, H, W, 3]``.
        columns: pictures per row.
        zoom: whole factor by which every pixel is enlarged.

    Returns:
        ``[1, rows · H · zoom, columns · W · zoom, 3]``.
    """
    rows = [torch.cat(list(row), 1) for row in images.split(columns)]
    return torch.cat(rows).repeat_interleave(zoom, 0).repeat_interleave(zoom, 1)[None]


def stacked(images: Sequence[torch.Tensor]) -> torch.Tensor:
    """Pictures ``[1, H, W, 3]`` of any sizes below each other, aligned left on white."""
    width = max(image.shape[2] for image in images)
    return torch.cat([F.pad(image, (0, 0, 0, width - image.shape[2]), value=1) for image in images], 1)


def in_width(image: torch.Tensor, width: int) -> torch.Tensor:
    """A picture ``[1, H, W, 3]`` scaled to a width, bilinear and antialiased."""
    size = max(1, round(image.shape[1] * width / image.shape[2])), width
    return F.interpolate(image.movedim(-1, 1), size, mode="bilinear", antialias=True).movedim(1, -1)


def to_pillow(image: torch.Tensor) -> Image.Image:
    """One picture ``[1, H, W, 3]`` in 0…1."""
    return Image.fromarray(_bytes(image[0]))


def write_png(path: str | Path, image: torch.Tensor) -> None:
    """One picture ``[1, H, W, 3]`` in 0…1."""
    with written_whole(path) as temporary:
        to_pillow(image).save(temporary, "PNG")


def _bytes(image: torch.Tensor) -> np.ndarray:
    return (image.clamp(0, 1) * 255).round().byte().cpu().numpy()
