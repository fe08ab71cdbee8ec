"""Values over the frames of a batch, from keyframes such as ``0: 1, 16: 99``."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from .entries import NUMBER, entries, quoted

LINEAR, SMOOTH, HOLD = "linear", "smooth", "hold"
BETWEEN = (LINEAR, SMOOTH, HOLD)
MOST_FRAMES = 100_000


def keyframes(text: str, name: str, low: float, high: float) -> dict[int, float]:
    """Values by frame, in order of the frames.

    Args:
        text: ``frame: value`` separated by commas, semicolons or new lines.
        name: of the input, for messages.
        low, high: what a value can be.

    Raises:
        ValueError: an entry cannot be read, a frame comes twice, or a value is out of its range.
    """
    found: dict[int, float] = {}
    for entry in entries(text):
        match = re.fullmatch(rf"([0-9]{{1,30}})\s*[:=]\s*({NUMBER})", entry, re.IGNORECASE)
        if not match:
            raise ValueError(f"{name}: {quoted(entry)} cannot be read; write frame: value, for example 0: 1, 16: 99.")
        frame, value = int(match[1]), float(match[2])
        if frame in found:
            raise ValueError(f"{name}: frame {frame} has two values, {found[frame]:g} and {value:g}; give it one.")
        if frame >= MOST_FRAMES:
            raise ValueError(f"{name}: frame {frame} is beyond {MOST_FRAMES - 1}.")
        if not low <= value <= high:
            raise ValueError(f"{name}: {value:g} at frame {frame} is outside {low:g} to {high:g}.")
        found[frame] = value
    return dict(sorted(found.items()))


def over_frames(keys: dict[int, float], frames: int, between: str) -> list[float]:
    """A value for each of the frames 0 to ``frames - 1``; before the first and after the last keyframe theirs.

    Args:
        keys: as :func:`keyframes` gives them, one or more.
        between: ``linear``, ``smooth`` (slow at both ends, ``3 t^2 - 2 t^3``) or ``hold`` (the value stays until the
            next keyframe).
    """
    places, values = np.array(list(keys)), np.array(list(keys.values()))
    numbers = np.arange(frames)
    if len(places) == 1:
        return [float(values[0])] * frames
    before = np.clip(np.searchsorted(places, numbers, side="right") - 1, 0, len(places) - 2)
    share = np.clip((numbers - places[before]) / (places[before + 1] - places[before]), 0, 1)
    if between == SMOOTH:
        share = share * share * (3 - 2 * share)
    elif between == HOLD:
        share = np.floor(share)
    return ((1 - share) * values[before] + share * values[before + 1]).tolist()


def last_frame(*keys: Sequence[int]) -> int:
    """The last frame that has a keyframe in any of several schedules; -1 where there is none."""
    return max((frame for frames in keys for frame in frames), default=-1)
