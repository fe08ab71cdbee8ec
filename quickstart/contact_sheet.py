"""Labelled rows of pictures as one PNG."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

MARGIN, LABEL_WIDTH, ZOOM = 6, 130, 2


def read_pictures(paths: list[Path]) -> torch.Tensor:
    """``[N, 3, H, W]`` in 0...1 of pictures of one size."""
    pixels = np.stack([np.asarray(Image.open(path).convert("RGB")) for path in paths])
    return torch.from_numpy(pixels).movedim(-1, 1).float() / 255


def contact_sheet(rows: list[tuple[str, torch.Tensor]], file: Path) -> None:
    """Write rows of pictures ``[N, 3, H, W]`` in 0...1, each behind its label."""
    height, width = (ZOOM * side for side in rows[0][1].shape[-2:])
    columns = max(len(images) for _, images in rows)
    size = (LABEL_WIDTH + columns * (width + MARGIN) + MARGIN, len(rows) * (height + MARGIN) + MARGIN)
    sheet, font = Image.new("RGB", size, "white"), ImageFont.load_default(14)
    draw = ImageDraw.Draw(sheet)
    for row, (label, images) in enumerate(rows):
        top = MARGIN + row * (height + MARGIN)
        draw.multiline_text((MARGIN, top + height // 2), label, fill="black", font=font, anchor="lm")
        for column, image in enumerate(images):
            pixels = Image.fromarray((image.movedim(0, -1) * 255).round().byte().numpy())
            left = LABEL_WIDTH + column * (width + MARGIN)
            sheet.paste(pixels.resize((width, height), Image.Resampling.NEAREST), (left, top))
    partial = file.with_suffix(".part")
    sheet.save(partial, "PNG")
    os.replace(partial, file)
