"""How pictures are scaled before an IQA model sees them, and what is said when two numbers disagree about it.

A *resize* is stored under the id ``protocol`` in files, workflows and metadata: ``"as is"`` for pictures in their own
size, or the side in pixels of the square that every picture is scaled to (bilinear, antialiased): ``"512"`` as for the
paper's adapters, ``"64"`` as for the quickstart's. ``""`` means that a file of an earlier version does not say.
"""

from __future__ import annotations

AS_IS = "as is"
RESIZES = (AS_IS, "512", "64")


def in_words(resize: str) -> str:
    """``scaled to 512x512 pixels``, ``in their own size``."""
    if not resize:
        return "of unknown size"
    return "in their own size" if resize == AS_IS else f"scaled to {resize}x{resize} pixels"


def differ(one: str, other: str) -> bool:
    """Whether both are known and not the same, so that their numbers cannot be compared."""
    return bool(one and other) and one != other
