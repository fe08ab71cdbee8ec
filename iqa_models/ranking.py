"""Which of several scored pictures are the best, by one metric or several together."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from . import catalogue
from .scoring import Scores

SHARE, COUNT, THRESHOLD = "best share", "count", "threshold"


def combined_goodness(scores: Scores) -> Tensor:
    """How good each picture is among the others, ``[images]``: the mean of its z-scores, higher is better.

    Every metric counts alike, in its own direction; NaN for a picture without a score in one of them.
    """
    columns = []
    for name, column in zip(scores.metrics, scores.values.double().T, strict=True):
        there = column[column.isfinite()]
        away = column - there.mean()
        standard = away / (there.std(correction=0) or 1)  # the same score everywhere says nothing
        columns.append(standard if catalogue.find(name).higher_is_better else -standard)
    return torch.stack(columns).mean(0)


def best_first(goodness: Tensor) -> list[int]:
    """Numbers of the pictures, best first, equal ones in their order; those without goodness (NaN) last."""
    return goodness.nan_to_num(nan=-math.inf).argsort(descending=True, stable=True).tolist()


def kept(scores: Scores, goodness: Tensor, select: str, share: float, count: int, threshold: float) -> Tensor:
    """Which pictures are kept, ``[images]`` of bool; never one without goodness.

    Args:
        select: ``best share``: a share (0...1) of all, rounded; ``count``: so many; ``threshold``: those whose first
            metric is at least as good as a raw score.
    """
    there = goodness.isfinite()
    if select == THRESHOLD:
        column = scores.values[:, 0]
        good = column >= threshold if catalogue.find(scores.metrics[0]).higher_is_better else column <= threshold
        return good & there
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
