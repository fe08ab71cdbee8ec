"""Thumbnails of the template browser: one square JPEG per workflow, of pictures that a run made.

ComfyUI shows ``NAME.jpg`` of a custom node's template and nothing else: comparing and swapping on hover, ``NAME-1`` and
``NAME-2``, are for its own templates, in front end 1.32 (ComfyUI 0.3.75) as in 1.49 (0.33). Before and after therefore
share the one picture.
"""

from __future__ import annotations

import io
from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

SIDE, CORNER, CAPTION, EDGE, QUALITY = 480, 160, 40, 6, 88  # pixels; of JPEG
GROUND, INK = (23, 24, 27), (240, 240, 240)


def thumbnail(pictures: Sequence[Image.Image], captions: Sequence[str]) -> bytes:
    """A JPEG: one picture whole, two as left and right half of one, a third before them small in the corner."""
    canvas = Image.new("RGB", (SIDE, SIDE), GROUND)
    height = SIDE - (CAPTION if any(captions) else 0)
    if len(pictures) == 1:
        fitted = _fitting(pictures[0], SIDE, height)
        canvas.paste(fitted, ((SIDE - fitted.width) // 2, (height - fitted.height) // 2))
    else:
        _halves(canvas, pictures[-2:], height)
    if len(pictures) == 3:
        canvas.paste(_fitting(pictures[0], CORNER, CORNER), (EDGE, EDGE))
        _write(canvas, captions[0], EDGE, EDGE + CORNER, CORNER)
    below = captions[-2:] if len(captions) > 1 else captions
    for number, caption in enumerate(below):
        _write(canvas, caption, number * SIDE // len(below), height, SIDE // len(below))
    file = io.BytesIO()
    canvas.save(file, "JPEG", quality=QUALITY, optimize=True)
    return file.getvalue()


def _halves(canvas: Image.Image, pictures: Sequence[Image.Image], height: int) -> None:
    left, right = (_filling(picture, SIDE, height) for picture in pictures)
    canvas.paste(left.crop((0, 0, SIDE // 2, height)), (0, 0))
    canvas.paste(right.crop((SIDE // 2, 0, SIDE, height)), (SIDE // 2, 0))
    ImageDraw.Draw(canvas).rectangle((SIDE // 2 - 1, 0, SIDE // 2, height), fill=INK)


def _write(canvas: Image.Image, caption: str, left: int, top: int, width: int) -> None:
    """A caption in the middle of its line."""
    if not caption:
        return
    draw = ImageDraw.Draw(canvas)
    draw.rectangle((left, top, left + width, top + CAPTION), GROUND)
    draw.text((left + width / 2, top + CAPTION / 2), caption, INK, ImageFont.load_default(22), anchor="mm")


def _filling(picture: Image.Image, width: int, height: int) -> Image.Image:
    """Its middle, as large as that."""
    scale = max(width / picture.width, height / picture.height)
    enlarged = _scaled(picture, scale)
    left, top = (enlarged.width - width) // 2, (enlarged.height - height) // 2
    return enlarged.crop((left, top, left + width, top + height))


def _fitting(picture: Image.Image, width: int, height: int) -> Image.Image:
    return _scaled(picture, min(width / picture.width, height / picture.height))


def _scaled(picture: Image.Image, scale: float) -> Image.Image:
    """Enlarged without smoothing, for the quickstart's pixels are what is to be seen; reduced with it."""
    size = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
    return picture.convert("RGB").resize(size, Image.Resampling.NEAREST if scale >= 2 else Image.Resampling.LANCZOS)
