"""Pictures side by side, each with its caption."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

MARGIN, LEAST_SIDE, LARGEST = 8, 128, 8192


def labelled_grid(images: torch.Tensor, captions: Sequence[str], columns: int = 0, zoom: int = 0) -> torch.Tensor:
    """One picture of all of them.

    Args:
        images: ``[N, H, W, 3]`` in 0…1.
        captions: one per picture, of one or more lines; fewer leave the last pictures without.
        columns: pictures per row; 0 makes the grid about square.
        zoom: whole factor by which every picture is enlarged without smoothing; 0 chooses, so that small pictures have
            at least 128 pixels on each side.

    Returns:
        ``[1, height, width, 3]`` in 0…1.

    Raises:
        ValueError: the grid would be larger than 8192 pixels on a side.
    """
    count, height, width, _ = images.shape
    columns = min(count, columns or math.ceil(math.sqrt(count)))
    zoom = zoom or math.ceil(LEAST_SIDE / min(height, width, LEAST_SIDE))
    font = ImageFont.load_default(max(12, width * zoom // 12))
    captions = [_wrapped(caption, font, width * zoom) for caption in captions]
    line = sum(font.getmetrics())
    text = line * max((caption.count("\n") + 1 for caption in captions if caption), default=0)
    cell = width * zoom + MARGIN, height * zoom + text + MARGIN
    size = columns * cell[0] + MARGIN, math.ceil(count / columns) * cell[1] + MARGIN
    if max(size) > LARGEST:
        raise ValueError(
            f"The grid would be {size[0]} x {size[1]} pixels, more than {LARGEST}. Use fewer or smaller pictures."
        )
    sheet = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(sheet)
    for number, image in enumerate(images):
        row, column = divmod(number, columns)
        left, top = MARGIN + column * cell[0], MARGIN + row * cell[1]
        pixels = Image.fromarray((image[..., :3].clamp(0, 1) * 255).round().byte().cpu().numpy())
        sheet.paste(pixels.resize((width * zoom, height * zoom), Image.Resampling.NEAREST), (left, top))
        if number < len(captions):
            draw.multiline_text((left, top + height * zoom), captions[number], "black", font, spacing=0)
    return torch.from_numpy(np.asarray(sheet, np.float32) / 255)[None]


def _wrapped(caption: str, font: ImageFont.FreeTypeFont, width: int) -> str:
    """The caption in lines that are no wider than its picture, where words allow it."""
    lines = []
    for given in caption.split("\n"):
        line = ""
        for word in given.split():
            longer = f"{line} {word}".strip()
            if line and font.getlength(longer) > width:
                lines.append(line)
                longer = word
            line = longer
        lines.append(line)
    return "\n".join(lines)
