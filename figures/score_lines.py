"""Scores under a picture: an arrow towards better, the number in words, and a bar from worst to best."""

from __future__ import annotations

from dataclasses import dataclass

from PIL import ImageDraw, ImageFont

FILLED, EMPTY = "#3b6ea5", "#d9d9d9"


@dataclass(frozen=True)
class ScoreLine:
    """One score.

    Attributes:
        text: name, value, and a word where there is one.
        higher_is_better: direction of the arrow.
        share: filled part of the bar, 0 worst to 1 best; None for no bar.
    """

    text: str
    higher_is_better: bool
    share: float | None


def wrapped(caption: str, font: ImageFont.FreeTypeFont, width: float) -> str:
    """The caption in lines that are no wider than ``width`` pixels, where words allow it."""
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


def height(line: ScoreLine, font: ImageFont.FreeTypeFont, width: int) -> int:
    """Pixels that a score takes."""
    row = sum(font.getmetrics())
    rows = wrapped(line.text, font, width - row).count("\n") + 1
    return rows * row + (row // 2 if line.share is not None else 0)


def draw_score(
    draw: ImageDraw.ImageDraw, left: int, top: int, width: int, line: ScoreLine, font: ImageFont.FreeTypeFont
) -> None:
    """Draw a score; it takes :func:`height` pixels."""
    row = sum(font.getmetrics())
    tip, base = (top + row * 0.3, top + row * 0.75) if line.higher_is_better else (top + row * 0.75, top + row * 0.3)
    draw.polygon([(left, base), (left + row * 0.6, base), (left + row * 0.3, tip)], fill=FILLED)
    draw.multiline_text((left + row, top), wrapped(line.text, font, width - row), "black", font, spacing=0)
    if line.share is None:
        return
    bottom = top + height(line, font, width)
    bar = (left, bottom - row // 3, left + width - 1, bottom - row // 8)
    draw.rectangle(bar, fill=EMPTY)
    if line.share > 0:
        draw.rectangle((*bar[:2], left + max(1, round(line.share * (width - 1))), bar[3]), fill=FILLED)
