"""What to ask an adapter for, so that so much is measured: curves from a sweep, kept in a file beside the adapter's.

A curve is the mean of what was measured at each request, made monotone (isotonic regression). That is the curve for
"the mean of my pictures shall be 0.7": it is read backwards, from measured to requested. A regression of the requests
on the measurements would be another one, which the spread of single pictures draws towards the middle of the requests.
Neighbouring levels of a dense sweep help each other: the mean at a level is a local line through those around it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..optional import needed
from .names import unknown_metric
from .resize import in_words
from .statistics import MetricStatistics
from .sweep import moved_by

LEVELS, PICTURES = 3, 4  # least levels of a curve, and pictures of each
WIDTH = 4.0  # percentiles: standard deviation of the weights of neighbouring levels


@dataclass(frozen=True)
class ResponseOfMetric:
    """How a measured metric answers to requests.

    Attributes:
        metric: what was measured.
        requested: percentiles (0...100), rising, two or more.
        measured: mean over the pictures at each, in the metric's unit; monotone.
        spread: standard deviation of single pictures at each.
        pictures: how many were measured.
        resize: how they were scaled, see :mod:`.resize`.

    Raises:
        ValueError: lengths differ, or one of them is not as said.
    """

    metric: str
    requested: tuple[float, ...]
    measured: tuple[float, ...]
    spread: tuple[float, ...]
    pictures: int
    resize: str

    def __post_init__(self):
        steps = np.diff(self.measured)
        if not len(self.requested) == len(self.measured) == len(self.spread) >= 2:
            raise ValueError(f"The calibration of {self.metric} needs equally many requests, measurements and spreads.")
        if min(self.requested) < 0 or max(self.requested) > 100 or (np.diff(self.requested) <= 0).any():
            raise ValueError(f"The calibration of {self.metric} needs rising percentiles from 0 to 100.")
        if not ((steps >= 0).all() or (steps <= 0).all()):
            raise ValueError(f"The calibration of {self.metric} is not monotone.")

    @property
    def reach(self) -> tuple[float, float]:
        """Least and most that was measured."""
        return min(self.measured), max(self.measured)

    def percentile_for(self, wanted: float) -> float:
        """The request at which ``wanted`` is measured in the mean; linear between the levels of the sweep.

        Where several requests give the same, the middle one.

        Raises:
            ValueError: it is out of reach.
        """
        low, high = self.reach
        if not low <= wanted <= high:
            raise ValueError(
                f"A measured {self.metric} of {wanted:g} is out of reach: requests from {self.requested[0]:g} to "
                f"{self.requested[-1]:g} % give {low:.4g} to {high:.4g}. Ask for one of these."
            )
        if low == high:
            raise ValueError(f"{self.metric} was {low:.4g} at every request: there is nothing to choose. Sweep more.")
        measured, requested = np.array(self.measured), np.array(self.requested)
        if measured[0] > measured[-1]:
            measured, requested = measured[::-1], requested[::-1]
        if (level := requested[measured == wanted]).size:
            return float((level[0] + level[-1]) / 2)
        return float(np.interp(wanted, measured, requested))

    def spread_at(self, percentile: float) -> float:
        return float(np.interp(percentile, self.requested, self.spread))


@dataclass(frozen=True)
class Calibration:
    """How measured quality answers to what one adapter is asked for, on one base model at one strength.

    Attributes:
        adapter, base: digests of the adapter's weights and of the base model.
        base_name: of its family, for messages.
        strength: with which the adapter was applied.
        moved: ``quality``, ``aesthetics`` or a metric of the adapter: what was requested.
        responses: one per measured metric.
        note: free text, such as sampler, steps and guidance.
    """

    adapter: str
    base: str
    base_name: str
    strength: float
    moved: str
    responses: tuple[ResponseOfMetric, ...]
    note: str = ""

    def response(self, metric: str) -> ResponseOfMetric:
        """
        Raises:
            ValueError: the metric was not measured.
        """
        for found in self.responses:
            if found.metric == metric:
                return found
        raise ValueError("The calibration: " + unknown_metric(metric, [found.metric for found in self.responses]))

    @property
    def holds_for(self) -> tuple[str, str, float, str]:
        """Adapter, base, strength and request: of two calibrations with the same, the later takes the other's place."""
        return self.adapter, self.base, self.strength, self.moved

    def requests(self, wanted: float, metric: str, metrics: Sequence[MetricStatistics]) -> dict[str, float]:
        """z-scores by metric of the adapter, so that ``wanted`` is measured.

        Args:
            metrics: the adapter's.

        Raises:
            ValueError: out of reach, or not measured.
        """
        percentile = self.response(metric).percentile_for(wanted)
        return {each.name: each.z_at(percentile) for each in metrics if each.name in moved_by(self.moved, metrics)}

    def in_words(self, wanted: float, metric: str) -> str:
        """What is asked for a measured value, and where that holds."""
        found = self.response(metric)
        percentile = found.percentile_for(wanted)
        return (
            f"measured {metric} {wanted:g}: {self.moved} {percentile:.3g} %, single pictures +-"
            f"{found.spread_at(percentile):.2g}; at strength {self.strength:g} on {self.base_name}, pictures "
            f"{in_words(found.resize)}" + (f", {self.note}" if self.note else "")
        )


def fitted(requested: Sequence[float], measured: Sequence[float], metric: str, resize: str) -> ResponseOfMetric:
    """The curve of single pictures.

    Where the sweep has fewer than ``PICTURES`` pictures a level (each picture may have a request of its own),
    neighbouring requests are taken together, so that the mean and the spread of each are of several pictures.

    Args:
        requested: ``[N]`` percentiles.
        measured: ``[N]`` scores; what is not finite is left out.

    Raises:
        ValueError: the two differ in length, or there are too few levels or pictures.
    """
    with needed("scipy"):
        from scipy.optimize import isotonic_regression
    if len(requested) != len(measured):
        raise ValueError(
            f"There are {len(requested)} requested percentiles, but {len(measured)} pictures were scored. Connect the "
            "sweep that made the pictures."
        )
    pairs = sorted((x, y) for x, y in zip(requested, measured, strict=True) if math.isfinite(y))
    levels = _levels(pairs)
    if len(levels) < LEVELS:
        raise ValueError(
            f"A calibration needs {LEVELS} levels or more of {PICTURES} pictures each, but {len(pairs)} scores of "
            f"{metric} make {len(levels)}. Sweep more percentiles and pictures, such as 1, 10, 25, 40, 50, 75, 99."
        )
    weights = np.array([len(level) for level in levels], float)
    places, means = np.array([np.mean(level, 0) for level in levels]).T
    means = _local_lines(places, means, weights)
    rises = bool(np.corrcoef(places, means)[0, 1] >= 0) if np.ptp(means) else True
    monotone = isotonic_regression(means, weights=weights, increasing=rises).x
    spread = [float(np.std([score for _, score in level], ddof=1)) for level in levels]
    return ResponseOfMetric(
        metric, tuple(map(float, places)), tuple(map(float, monotone)), tuple(spread), len(pairs), resize
    )


def _local_lines(places: np.ndarray, means: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Value at each place of the line through the means around it, least squares by weights that fall with distance.

    Means of levels that are ``3 WIDTH`` or more apart stay as they are.
    """
    lines = []
    for place in places:
        near = np.sqrt(weights * np.exp(-0.5 * ((places - place) / WIDTH) ** 2))
        near[near < near.max() / 100] = 0
        design = np.stack([np.ones_like(places), places - place], 1)
        lines.append(np.linalg.lstsq(design * near[:, None], means * near, rcond=None)[0][0])
    return np.array(lines)


def _levels(pairs: Sequence[tuple[float, float]]) -> list[list[tuple[float, float]]]:
    """(request, score) in groups of ``PICTURES`` or more; equal requests are never parted."""
    groups: list[list[tuple[float, float]]] = []
    for pair in pairs:
        if groups and (pair[0] == groups[-1][-1][0] or len(groups[-1]) < PICTURES):
            groups[-1].append(pair)
        else:
            groups.append([pair])
    if len(groups) > 1 and len(groups[-1]) < PICTURES:
        groups[-2:] = [groups[-2] + groups[-1]]
    return groups
