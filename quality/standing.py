"""What a score means: how many pictures are worse, where it lies on the metric's range, in a word."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeVar

from torch import Tensor

from .statistics import MetricStatistics

WORDS = ((10, "very poor"), (35, "poor"), (65, "average"), (90, "good"))  # below so many per cent
HIGHEST_WORD = "very good"
Number = TypeVar("Number", float, Tensor)
BAR, FULL, EMPTY = 10, "\u2588", "\u2591"  # characters


@dataclass(frozen=True)
class Standing:
    """Of one score.

    Attributes:
        better_than: per cent (0...100) of the reference pictures that are worse; None where it is not known.
        share: of a bar that is filled, 0 worst to 1 best: that percentile, else the place on the metric's range; None
            where neither is known.
    """

    better_than: float | None
    share: float | None

    @property
    def word(self) -> str:
        """From very poor to very good; empty where there are no statistics."""
        return "" if self.better_than is None else word(self.better_than)

    @property
    def bar(self) -> str:
        """Ten characters; empty where nothing is known."""
        if self.share is None:
            return ""
        filled = round(self.share * BAR)
        return FULL * filled + EMPTY * (BAR - filled)


def standing(
    raw: float, low: float, high: float, higher_is_better: bool, known: MetricStatistics | None = None
) -> Standing:
    """What a raw score means.

    Args:
        raw: the score; nothing is known of NaN.
        low, high: range of the metric's raw scores, may be infinite.
        known: statistics that hold for the score, with percentiles.
    """
    if not math.isfinite(raw):
        return Standing(None, None)
    if known is not None and known.percentiles:
        below = known.percentile(raw)
        better_than = below if known.higher_is_better else 100 - below
        return Standing(better_than, better_than / 100)
    if not (math.isfinite(low) and math.isfinite(high)):
        return Standing(None, None)
    return Standing(None, min(1.0, max(0.0, place(raw, low, high, higher_is_better))))


def place(raw: Number, low: float, high: float, higher_is_better: bool) -> Number:
    """Where raw scores lie on their metric's range, 0 worst to 1 best; beyond it where they leave the range."""
    share = (raw - low) / (high - low)
    return share if higher_is_better else 1 - share


def word(better_than: float) -> str:
    """For a picture that is better than so many per cent (0...100) of the others."""
    return next((name for below, name in WORDS if better_than < below), HIGHEST_WORD)
