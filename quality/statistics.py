"""How a metric's raw scores are distributed: raw score <-> z-score <-> percentile.

The pack's own copy of the CC3M numbers (``data/cc3m_statistics.csv``) comes from the authors of IQA-Adapter
(arXiv 2412.01794): 21 no-reference metrics, all of them higher for better pictures, measured on the Conceptual
Captions 3M images, resized to 512x512 (bilinear).
"""

from __future__ import annotations

import csv
import difflib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

CC3M_TABLE = Path(__file__).parent / "data" / "cc3m_statistics.csv"


@dataclass(frozen=True)
class MetricStatistics:
    """Distribution of one metric over a reference set of images.

    Attributes:
        name: the metric's name.
        mean, std: of the raw scores; ``std`` is above 0.
        percentiles: rank in per cent (0...100) -> raw score, rising; at least two ranks.
        minimum, maximum: the extremes, ranks 0 and 100; infinite where unknown.
        higher_is_better: direction of the raw scores.
        aesthetic: the metric measures aesthetics (IAA) rather than technical quality (IQA).
    """

    name: str
    mean: float
    std: float
    percentiles: Mapping[float, float]
    minimum: float = -math.inf
    maximum: float = math.inf
    higher_is_better: bool = True
    aesthetic: bool = False

    def __post_init__(self):
        ranks, values = zip(*sorted(self.percentiles.items()), strict=True)
        object.__setattr__(self, "percentiles", dict(zip(ranks, values, strict=True)))
        if not (math.isfinite(self.mean) and math.isfinite(self.std) and self.std > 0):
            raise ValueError(f"Statistics of {self.name}: mean must be finite and std above 0, not {self.std}.")
        if len(ranks) < 2 or ranks[0] < 0 or ranks[-1] > 100 or list(values) != sorted(values):
            raise ValueError(f"Statistics of {self.name}: percentiles need two ranks or more in 0...100, rising.")

    def z_score(self, raw: float) -> float:
        """Standardised score, ``(raw - mean) / std``: what a score adapter is trained on."""
        return (raw - self.mean) / self.std

    def raw(self, z: float) -> float:
        """Raw score of a standardised one."""
        return self.mean + z * self.std

    def raw_at(self, percentile: float) -> float:
        """Raw score below which ``percentile`` per cent (0...100) of the reference images lie.

        Linear between the known ranks. Beyond the outermost known rank the known extreme is the end of the line;
        where it is unknown, the outermost rank's score is held.

        Raises:
            ValueError: ``percentile`` outside 0...100.
        """
        if not 0 <= percentile <= 100:
            raise ValueError(f"Percentile {percentile:g} of {self.name} is outside 0...100.")
        ranks, values = self._curve()
        return float(np.interp(percentile, ranks, values))

    def percentile(self, raw: float) -> float:
        """Rank in per cent (0...100) of a raw score among the reference images; inverse of :meth:`raw_at`."""
        ranks, values = self._curve()
        return float(np.interp(raw, values, ranks))

    def _curve(self) -> tuple[list[float], list[float]]:
        points = dict(self.percentiles)
        if math.isfinite(self.minimum):
            points.setdefault(0.0, self.minimum)
        if math.isfinite(self.maximum):
            points.setdefault(100.0, self.maximum)
        ranks = sorted(points)
        return ranks, [points[rank] for rank in ranks]

    def to_json(self) -> dict:
        """Plain JSON form, as adapters carry it in their metadata (ranks as strings, extremes only if known)."""
        extremes = {"min": self.minimum, "max": self.maximum}
        return {
            "name": self.name,
            "mean": self.mean,
            "std": self.std,
            "percentiles": {f"{rank:g}": value for rank, value in self.percentiles.items()},
            **{key: value for key, value in extremes.items() if math.isfinite(value)},
            "higher_is_better": self.higher_is_better,
            "aesthetic": self.aesthetic,
        }

    @classmethod
    def from_json(cls, data: Mapping) -> MetricStatistics:
        """Inverse of :meth:`to_json`.

        Raises:
            ValueError: a field is missing or not a number; the message names the metric.
        """
        try:
            return cls(
                name=data["name"],
                mean=float(data["mean"]),
                std=float(data["std"]),
                percentiles={float(rank): float(value) for rank, value in data["percentiles"].items()},
                minimum=float(data.get("min", -math.inf)),
                maximum=float(data.get("max", math.inf)),
                higher_is_better=bool(data.get("higher_is_better", True)),
                aesthetic=bool(data.get("aesthetic", False)),
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"Statistics of metric {data.get('name', '?')!r} are incomplete: {error!r}.") from error


@cache
def cc3m_statistics() -> dict[str, MetricStatistics]:
    """Statistics of the 21 metrics over CC3M by metric name, as the released adapters were trained with."""
    with CC3M_TABLE.open(newline="") as table:
        return {row["metric"]: _from_row(row) for row in csv.DictReader(table)}


def _from_row(row: dict[str, str]) -> MetricStatistics:
    return MetricStatistics(
        name=row["metric"],
        mean=float(row["mean"]),
        std=float(row["std"]),
        percentiles={float(key[1:]): float(value) for key, value in row.items() if key[1:].isdigit()},
        minimum=float(row["min"]),
        maximum=float(row["max"]),
        aesthetic=row["aspect"] == "aesthetics",
    )


def unknown_metric(name: str, known: Sequence[str]) -> str:
    """Message for a metric name that is not among ``known``, with the nearest one."""
    nearest = difflib.get_close_matches(name, known, n=1, cutoff=0.0)
    hint = f" Did you mean {nearest[0]}?" if nearest else ""
    return f"Unknown metric {name!r}; known here: {', '.join(known)}.{hint}"
