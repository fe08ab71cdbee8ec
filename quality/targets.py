"""Requested quality -> standardised scores: percentiles, raw values, z-scores, or scores to match."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .statistics import MetricStatistics, unknown_metric


@dataclass(frozen=True)
class Metric:
    """One input of a score adapter: a metric's name and, where they are known, the statistics of its training set."""

    name: str
    statistics: MetricStatistics | None = None

    @classmethod
    def from_json(cls, data: Mapping) -> Metric:
        """From an adapter's metadata, where a metric of unknown statistics has only a name."""
        return cls(data["name"], MetricStatistics.from_json(data) if "mean" in data else None)

    @property
    def aesthetic(self) -> bool:
        return self.statistics is not None and self.statistics.aesthetic

    def z_at(self, percentile: float) -> float:
        """z-score of the image that is better than ``percentile`` per cent (0...100) of the training set."""
        known = self._known("a percentile")
        return known.z_score(known.raw_at(percentile if known.higher_is_better else 100 - percentile))

    def z_of(self, raw: float) -> float:
        """z-score of a raw value."""
        return self._known("a raw value").z_score(raw)

    def describe(self, z: float) -> str:
        """``name = raw value (percentile, z-score)``, as far as it is known."""
        known = self.statistics
        if known is None:
            return f"{self.name} = {z:+.2f}z"
        raw = known.raw(z)
        rank = known.percentile(raw) if known.higher_is_better else 100 - known.percentile(raw)
        return f"{self.name} = {raw:.4g} (better than {rank:.3g} %, {z:+.2f}z)"

    def _known(self, what: str) -> MetricStatistics:
        if self.statistics is None:
            raise ValueError(
                f"The adapter's file has no statistics for {self.name}, so {what} means nothing to it. "
                f"Give a z-score, for example `{self.name}=+1.5z`."
            )
        return self.statistics


def sliders(metrics: Sequence[Metric], quality: float, aesthetics: float) -> list[float]:
    """z-scores of two percentiles, 0...100: ``aesthetics`` for aesthetic metrics, ``quality`` for the others."""
    return [metric.z_at(aesthetics if metric.aesthetic else quality) for metric in metrics]


def requested(
    metrics: Sequence[Metric],
    quality: float,
    aesthetics: float,
    targets: str = "",
    match: Mapping[str, Sequence[float]] | None = None,
) -> Tensor:
    """Standardised quality input of an adapter.

    Args:
        metrics: the adapter's, in order.
        quality, aesthetics: percentiles for every metric that nothing else sets.
        targets: see :func:`parse_targets`; overrides ``match``.
        match: raw scores per image by metric name, for example measured on reference pictures.

    Returns:
        ``[N, metrics]`` float32; N = 1, or the number of images in ``match``.

    Raises:
        ValueError: unknown metric, value out of range or unreadable, no common metric with ``match``.
    """
    overrides = parse_targets(metrics, targets)
    columns: dict[str, list[float]] = {name: [z] for name, z in overrides.items()}
    if match is not None:
        shared = [metric for metric in metrics if metric.name in match]
        if not shared:
            raise ValueError(
                f"The scores to match are of {', '.join(match)}, but the adapter was trained on "
                f"{', '.join(metric.name for metric in metrics)}. Score the pictures with one of these."
            )
        columns = {metric.name: [metric.z_of(raw) for raw in match[metric.name]] for metric in shared} | columns
    for metric in metrics:
        if metric.name not in columns:
            columns[metric.name] = sliders([metric], quality, aesthetics)
    count = max(map(len, columns.values()))
    rows = [columns[metric.name] * (count // len(columns[metric.name])) for metric in metrics]
    return torch.tensor(rows, dtype=torch.float32).T


def parse_targets(metrics: Sequence[Metric], text: str) -> dict[str, float]:
    """z-scores by metric name from ``topiq_nr=0.78, laion_aes=p95, hyperiqa=+1.5z``.

    A bare number is a raw value, ``p`` a percentile (better than so many per cent), ``z`` a z-score. Commas, semicolons
    or new lines separate entries.

    Raises:
        ValueError: an entry cannot be read, or names a metric the adapter was not trained on (the nearest is named).
    """
    by_name = {metric.name: metric for metric in metrics}
    number = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?"
    parsed = {}
    for entry in filter(None, (part.strip() for part in re.split(r"[,;\n]", text))):
        match = re.fullmatch(rf"([^=\s]+)\s*=\s*(p?)({number})(z?)", entry, re.IGNORECASE)
        if not match or (match[2] and match[4]):
            raise ValueError(f"Target {entry!r} cannot be read; write metric=0.78, metric=p95 or metric=+1.5z.")
        name, is_percentile, value, is_z = match[1], match[2], float(match[3]), match[4]
        if name not in by_name:
            raise ValueError(unknown_metric(name, list(by_name)))
        metric = by_name[name]
        parsed[name] = value if is_z else metric.z_at(value) if is_percentile else metric.z_of(value)
    return parsed
