"""How a metric's raw scores are distributed: raw score <-> z-score <-> percentile.

The pack's own copy of the CC3M numbers (``data/cc3m_statistics.csv``) comes from the authors of IQA-Adapter
(arXiv 2412.01794): 21 no-reference metrics, all of them higher for better pictures, measured on the Conceptual
Captions 3M images, resized to 512x512 (bilinear).
"""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cache
from pathlib import Path

import numpy as np

CC3M_TABLE = Path(__file__).parent / "data" / "cc3m_statistics.csv"
CC3M_RESIZE = "512"
RANKS = (1, 5, 10, 25, 50, 75, 90, 95, 99)  # per cent: the percentiles that are kept of a set of pictures


@dataclass(frozen=True, eq=False)
class MetricStatistics:
    """A metric and, as far as it is known, the distribution of its raw scores over a reference set of pictures.

    The one shape of these numbers: in adapter metadata, tables of scores, requested targets and shown scores.

    Attributes:
        name: the metric's name.
        mean, std: of the raw scores, ``std`` above 0; NaN where nothing is known but the name.
        percentiles: rank in per cent (0...100) -> raw score, rising; two ranks or more, or none.
        minimum, maximum: the extremes, ranks 0 and 100; infinite where unknown.
        higher_is_better: direction of the raw scores.
        aesthetic: the metric measures aesthetics (IAA) rather than technical quality (IQA).
        resize: how the pictures were scaled, see :mod:`.resize`; empty where it is unknown.
        missing: pictures of the set for which the metric has no answer.

    Raises:
        ValueError: mean and std are not both finite or both NaN, std is not above 0, or percentiles do not rise.
    """

    name: str
    mean: float = math.nan
    std: float = math.nan
    percentiles: Mapping[float, float] = field(default_factory=dict)
    minimum: float = -math.inf
    maximum: float = math.inf
    higher_is_better: bool = True
    aesthetic: bool = False
    resize: str = ""
    missing: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "percentiles", dict(sorted(self.percentiles.items())))
        ranks, values = list(self.percentiles), list(self.percentiles.values())
        unknown = math.isnan(self.mean) and math.isnan(self.std)
        if not unknown and not (math.isfinite(self.mean) and math.isfinite(self.std) and self.std > 0):
            raise ValueError(f"Statistics of {self.name}: mean must be finite and std above 0, not {self.std}.")
        if ranks and (len(ranks) < 2 or ranks[0] < 0 or ranks[-1] > 100 or values != sorted(values)):
            raise ValueError(f"Statistics of {self.name}: percentiles need two ranks or more in 0...100, rising.")

    def __eq__(self, other: object) -> bool:
        """Whether all that is known is the same. (Python 3.13 takes a NaN in a dataclass for unlike itself.)"""
        if not isinstance(other, MetricStatistics):
            return NotImplemented
        return self._known() == other._known()

    def _known(self) -> dict:
        values = ((each.name, getattr(self, each.name)) for each in fields(self))
        return {name: value for name, value in values if value == value}  # all but NaN

    @classmethod
    def of(cls, name: str, scores: np.ndarray, **facts) -> MetricStatistics:
        """Statistics of measured scores.

        Args:
            scores: ``[pictures]`` raw scores; what is not finite counts as missing.
            facts: further attributes.

        Returns:
            Without mean, std and percentiles where all scores are the same or none is there, since no other score
            could be standardised with them.
        """
        known = scores[np.isfinite(scores)].astype(np.float64)
        facts["missing"] = len(scores) - len(known)
        if len(known):
            facts |= {"minimum": float(known.min()), "maximum": float(known.max())}
        if not len(known) or known.std() == 0:
            return cls(name, **facts)
        scores_at = np.percentile(known, RANKS).tolist()
        percentiles = {float(rank): score for rank, score in zip(RANKS, scores_at, strict=True)}
        return cls(name, float(known.mean()), float(known.std()), percentiles, **facts)

    @property
    def known(self) -> bool:
        """Whether raw scores can be standardised."""
        return math.isfinite(self.std)

    def z_score(self, raw: float) -> float:
        """Standardised score, ``(raw - mean) / std``: what a score adapter is trained on."""
        self._require(self.known, "a raw value")
        return (raw - self.mean) / self.std

    def raw(self, z: float) -> float:
        """Raw score of a standardised one."""
        self._require(self.known, "a raw value")
        return self.mean + z * self.std

    def raw_at(self, percentile: float) -> float:
        """Raw score below which ``percentile`` per cent (0...100) of the reference pictures lie.

        Linear between the known ranks. Beyond the outermost known rank the known extreme is the end of the line;
        where it is unknown, the outermost rank's score is held.

        Raises:
            ValueError: ``percentile`` outside 0...100, or there are no percentiles.
        """
        if not 0 <= percentile <= 100:
            raise ValueError(f"Percentile {percentile:g} of {self.name} is outside 0...100.")
        ranks, values = self._curve()
        return float(np.interp(percentile, ranks, values))

    def percentile(self, raw: float) -> float:
        """Rank in per cent (0...100) of a raw score among the reference pictures; inverse of :meth:`raw_at`."""
        ranks, values = self._curve()
        return float(np.interp(raw, values, ranks))

    def z_at(self, better_than: float) -> float:
        """z-score of the picture that is better than ``better_than`` per cent (0...100) of the reference set."""
        self._require(self.known, "a percentile")
        return self.z_score(self.raw_at(better_than if self.higher_is_better else 100 - better_than))

    def describe(self, z: float) -> str:
        """``name = raw value (percentile, z-score)``, as far as it is known."""
        if not self.known:
            return f"{self.name} = {z:+.2f}z"
        raw, rank = self.raw(z), ""
        if self.percentiles:
            percentile = self.percentile(raw)
            rank = f"better than {percentile if self.higher_is_better else 100 - percentile:.3g} %, "
        return f"{self.name} = {raw:.4g} ({rank}{z:+.2f}z)"

    def to_json(self) -> dict:
        """Plain JSON form of what is known, as adapters and tables carry it (ranks as strings).

        The resize is stored as ``protocol``.
        """
        percentiles = {f"{rank:g}": value for rank, value in self.percentiles.items()}
        extremes = {"min": self.minimum, "max": self.maximum}
        return {
            "name": self.name,
            **({"mean": self.mean, "std": self.std} if self.known else {}),
            **({"percentiles": percentiles} if percentiles else {}),
            **{key: value for key, value in extremes.items() if math.isfinite(value)},
            "higher_is_better": self.higher_is_better,
            "aesthetic": self.aesthetic,
            **({"protocol": self.resize} if self.resize else {}),
            **({"missing": self.missing} if self.missing else {}),
        }

    @classmethod
    def from_json(cls, data: Mapping) -> MetricStatistics:
        """Inverse of :meth:`to_json`; a mapping with only a name is a metric of unknown statistics.

        Raises:
            ValueError: a field is missing or not a number; the message names the metric.
        """
        try:
            known = bool({"mean", "std"} & data.keys())
            return cls(
                data["name"],
                mean=float(data["mean"]) if known else math.nan,
                std=float(data["std"]) if known else math.nan,
                percentiles={float(rank): float(value) for rank, value in data.get("percentiles", {}).items()},
                minimum=float(data.get("min", -math.inf)),
                maximum=float(data.get("max", math.inf)),
                higher_is_better=bool(data.get("higher_is_better", True)),
                aesthetic=bool(data.get("aesthetic", False)),
                resize=str(data.get("protocol", "")),
                missing=int(data.get("missing", 0)),
            )
        except (KeyError, TypeError, AttributeError) as error:
            name = data.get("name", "?") if isinstance(data, Mapping) else data
            raise ValueError(f"Statistics of metric {name!r} are incomplete: {error!r}.") from error

    def _curve(self) -> tuple[list[float], list[float]]:
        self._require(bool(self.percentiles), "a percentile")
        points = dict(self.percentiles)
        if math.isfinite(self.minimum):
            points.setdefault(0.0, self.minimum)
        if math.isfinite(self.maximum):
            points.setdefault(100.0, self.maximum)
        ranks = sorted(points)
        return ranks, [points[rank] for rank in ranks]

    def _require(self, there: bool, what: str) -> None:
        if not there:
            raise ValueError(
                f"There are no statistics for {self.name}, so {what} means nothing for it. "
                f"Give a z-score, for example `{self.name}=+1.5z`."
            )


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
        resize=CC3M_RESIZE,
    )
