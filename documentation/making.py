"""``python iqa.py docs``: makes all pictures of README.md and docs/."""

from __future__ import annotations

import os

from ..figures.grid import write_png
from . import quality_grid, quality_strip, reference_strip, registry, search_plot
from .digests import IMAGES, keep_digests
from .picture import Models

PICTURES = (
    quality_strip.PICTURE,
    reference_strip.PICTURE,
    quality_grid.PICTURE,
    search_plot.PICTURE,
    registry.BANNER,
    registry.ICON,
)
LARGEST = 4 * 10**6  # bytes of all together


def make() -> None:
    """Make all pictures, and note of what they are made.

    Raises:
        ValueError: together they are larger than a repository should carry.
    """
    IMAGES.mkdir(exist_ok=True)
    models = Models()
    for picture in PICTURES:
        path = IMAGES / picture.name
        write_png(path, picture.draw(models, picture.settings))
        print(f"{os.path.relpath(path)}: {path.stat().st_size / 1000:.0f} kB", flush=True)
    together = sum((IMAGES / picture.name).stat().st_size for picture in PICTURES)
    if together > LARGEST:
        raise ValueError(f"The pictures of docs/images take {together} bytes, more than {LARGEST}; make them smaller.")
    keep_digests(PICTURES)
