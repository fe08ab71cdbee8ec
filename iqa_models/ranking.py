"""Which of several scored pictures are the best, by one metric or several together."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from . import catalogue
from .catalogue import Entry
from .scoring import Scores, best_first

SHARE, COUNT, THRESHOLD = "best share", "count", "threshold"


def combined_goodness(scores: Scores) -> Tensor:
    """How good each picture is among the others, ``[images]``: the mean of its z-scores, higher is better.

    Every metric counts alike, in its own direction; NaN for a picture without a score in one of them.
    """
    return standardised(scores.values, [catalogue.find(name) for name in scores.metrics]).mean(1)


def standardised(values: Tensor, entries: Sequence[Entry]) -> Tensor:
    """z-scores of raw ones ``[pictures, metrics]`` among these pictures, higher for better.

    0 where all are alike, which says nothing; NaN for what is not finite.
    """
    known = values.double().where(values.isfinite(), torch.nan)
    centred = known - known.nanmean(0)
    spread = centred.square().nanmean(0).sqrt()
    signs = torch.tensor([1.0 if entry.higher_is_better else -1.0 for entry in entries], dtype=torch.float64)
    return signs * centred / torch.where(spread > 1e-12, spread, torch.inf)


def kept(scores: Scores, goodness: Tensor, select: str, share: float, count: int, threshold: float) -> Tensor:
    """Which pictures are kept, ``[images]`` of bool; never one without goodness.

    Args:
        select: ``best share``: a share (0...1) of all, rounded; ``count``: so many; ``threshold``: those whose first
            metric is at least as good as a raw score.
    """
    there = goodness.isfinite()
    if select == THRESHOLD:
        return catalogue.find(scores.metrics[0]).reached(scores.values[:, 0], threshold) & there
    wanted = round(share * len(goodness)) if select == SHARE else count
    mask = torch.zeros(len(goodness), dtype=torch.bool)
    mask[best_first(goodness)[:wanted]] = True
    return mask & there


def check_selection(select: str, share: float) -> None:
    """Refuse, before anything is scored, what would keep nothing.

    Raises:
        ValueError: the share is 0.
    """
    if select == SHARE and share == 0:
        raise ValueError("A best share of 0 keeps no picture; choose more than 0.")
