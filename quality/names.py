"""What to say about a metric's name that does not fit."""

from __future__ import annotations

import difflib
from collections.abc import Collection

from .entries import quoted


def unknown_metric(name: str, here: Collection[str], everywhere: Collection[str] = ()) -> str:
    """Message for a metric name that is not among those that can be used here.

    Args:
        here: the names that can be used.
        everywhere: all names that exist, among which the nearest one is looked for, too.
    """
    if name in everywhere:
        return f"{name} is not among the metrics here, which are {', '.join(here)}."
    nearest = difflib.get_close_matches(name, {*here, *everywhere}, n=1, cutoff=0.0)
    hint = f" Did you mean {nearest[0]}?" if nearest else ""
    return f"Unknown metric {quoted(name)}; known here: {', '.join(here)}.{hint}"
