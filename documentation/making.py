"""``python iqa.py docs``: makes all pictures of README.md and docs/."""

from __future__ import annotations

import os
from collections.abc import Sequence

from ..figures.grid import write_png
from . import (
    mended_half,
    quality_grid,
    quality_strip,
    reference_arithmetic,
    reference_strip,
    registry,
    search_plot,
)
from .digests import IMAGES, keep_digests
from .picture import Models

PICTURES = (
    quality_strip.PICTURE,
    reference_strip.PICTURE,
    quality_grid.PICTURE,
    search_plot.PICTURE,
    reference_arithmetic.PICTURE,
    mended_half.PICTURE,
    registry.BANNER,
    registry.ICON,
)
LARGEST = 4 * 10**6  # bytes of all together


def make(names: Sequence[str] = ()) -> None:
    """Make pictures, and note of what they are made.

    Args:
        names: of files; none for all.

    Raises:
        ValueError: a name is unknown, or all together are larger than a repository should carry.
    """
    known = [picture.name for picture in PICTURES]
    if unknown := [name for name in names if name not in known]:
        raise ValueError(f"There is no picture {unknown[0]}; there are {', '.join(known)}.")
    IMAGES.mkdir(exist_ok=True)
    models, chosen = Models(), [picture for picture in PICTURES if not names or picture.name in names]
    for picture in chosen:
        path = IMAGES / picture.name
        write_png(path, picture.draw(models, picture.settings))
        print(f"{os.path.relpath(path)}: {path.stat().st_size / 1000:.0f} kB", flush=True)
    together = sum((IMAGES / picture.name).stat().st_size for picture in PICTURES)
    if together > LARGEST:
        raise ValueError(f"The pictures of docs/images take {together} bytes, more than {LARGEST}; make them smaller.")
    keep_digests(chosen, others=bool(names))
