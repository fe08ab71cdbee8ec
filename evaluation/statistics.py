"""Intervals by bootstrap over prompts, relative gain."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

RESAMPLES, SEED, CONFIDENCE = 1000, 0, 95


class Estimate(NamedTuple):
    """A number with its interval of 95 % confidence; the interval is NaN where there is one prompt only."""

    value: float
    low: float
    high: float

    def shown(self, form: str = ".3f") -> str:
        """``0.871 (0.850 to 0.893)``; a dash where there is no number."""
        if not np.isfinite(self.value):
            return "–"
        interval = f" ({self.low:{form}} to {self.high:{form}})" if np.isfinite(self.low) else ""
        return f"{self.value:{form}}{interval}"

    @property
    def error(self) -> float:
        """Half the interval, for error bars."""
        return (self.high - self.low) / 2


def bootstrap(statistic: Callable[..., float], *samples: np.ndarray) -> Estimate:
    """A statistic of prompts, and how far it would move with other prompts.

    Whole prompts are drawn with replacement, the same ones in all samples, for the pictures of a prompt resemble each
    other (Efron and Tibshirani, *An introduction to the bootstrap*, 1993, chapter 8).

    Args:
        statistic: of arrays like the samples.
        samples: ``[prompts, ...]`` each.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # means of prompts without any answer are NaN
        value, count = float(statistic(*samples)), len(samples[0])
        if count < 2:
            return Estimate(value, np.nan, np.nan)
        generator = np.random.default_rng(SEED)
        drawn = (generator.integers(count, size=count) for _ in range(RESAMPLES))
        values = [statistic(*(sample[rows] for sample in samples)) for rows in drawn]
        half = (100 - CONFIDENCE) / 2
        low, high = np.nanpercentile(values, [half, 100 - half])
    return Estimate(value, float(low), float(high))


def mean(values: np.ndarray) -> Estimate:
    """Mean over prompts and pictures ``[prompts, ...]``, without missing ones."""
    return bootstrap(np.nanmean, values)


def gain(measured: np.ndarray, base: np.ndarray, higher_is_better: bool = True) -> float:
    """Relative improvement of the mean over the base model's, as the paper reports it; positive is better."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        before, after = np.nanmean(base), np.nanmean(measured)
    return float((after - before) / abs(before)) * (1 if higher_is_better else -1) if before else np.nan
