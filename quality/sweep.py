"""Many requests at once: what a sweep asks for, combination by combination."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .entries import numbers, quoted
from .names import unknown_metric
from .statistics import MetricStatistics

MOST = 4096  # pictures of a batch, as ComfyUI has it
QUALITY, AESTHETICS, STRENGTH = "quality", "aesthetics", "strength"


@dataclass(frozen=True)
class Axis:
    """What changes along the rows or the columns of a sweep.

    Attributes:
        what: ``quality``, ``aesthetics``, ``strength``, or the name of a metric.
        values: strengths, or percentiles (0...100, better than so many per cent).
    """

    what: str
    values: tuple[float, ...]

    def label(self, value: float) -> str:
        return f"{self.what} {value:g}" + ("" if self.what == STRENGTH else " %")


@dataclass(frozen=True)
class Sweep:
    """Every combination of two axes, row by row.

    Attributes:
        metrics: the adapter's.
        rows, columns: the axes; columns None for one column.
        quality, aesthetics: percentiles of the metrics that neither axis moves.

    Raises:
        ValueError: an axis has no values or moves nothing, both axes move the same, or there are too many combinations.
    """

    metrics: tuple[MetricStatistics, ...]
    rows: Axis
    columns: Axis | None
    quality: float
    aesthetics: float

    def __post_init__(self):
        for name, axis in (("rows", self.rows), ("columns", self.columns)):
            if axis is not None and not axis.values:
                raise ValueError(f"The sweep has no {name}; write {_example(axis.what)}.")
        for name, axis, other in (("rows", self.rows, self.columns), ("columns", self.columns, self.rows)):
            if axis is not None and not _moves(axis, other, self.metrics):
                raise ValueError(
                    f"The {name} of the sweep move nothing: {self._reason(axis, other)} Choose another one, such as "
                    f"{', '.join(metric.name for metric in self.metrics)} or strength."
                )
        count = len(self.rows.values) * (len(self.columns.values) if self.columns else 1)
        if count > MOST:
            raise ValueError(f"The sweep has {count:,} combinations, more than {MOST:,}; write fewer rows or columns.")

    @property
    def targets(self) -> list[tuple[float, float | None]]:
        """Value of the row, and of the column where there are several."""
        columns: Sequence[float | None] = [None] if self.columns is None else self.columns.values
        return [(row, column) for row in self.rows.values for column in columns]

    def request(self, target: tuple[float, float | None]) -> Tensor:
        """Standardised quality input ``[1, metrics]`` of a target."""
        asked = self._asked(target)
        percentiles = [
            asked.get(metric.name, asked[AESTHETICS if metric.aesthetic else QUALITY]) for metric in self.metrics
        ]
        scores = [metric.z_at(level) for metric, level in zip(self.metrics, percentiles, strict=True)]
        return torch.tensor([scores], dtype=torch.float32)

    def strength(self, target: tuple[float, float | None]) -> float:
        """Factor of the adapter's strength; 1 where it is not swept."""
        return self._asked(target).get(STRENGTH, 1.0)

    @property
    def sweeps_strength(self) -> bool:
        return STRENGTH in (self.rows.what, self.columns and self.columns.what)

    def label(self, target: tuple[float, float | None]) -> str:
        row, column = target
        label = self.rows.label(row)
        return label if self.columns is None or column is None else f"{label}, {self.columns.label(column)}"

    def _asked(self, target: tuple[float, float | None]) -> dict[str, float]:
        row, column = target
        asked = {QUALITY: self.quality, AESTHETICS: self.aesthetics, self.rows.what: row}
        if self.columns is not None and column is not None:
            asked[self.columns.what] = column
        return asked

    def _reason(self, axis: Axis, other: Axis | None) -> str:
        if other is not None and axis.what == other.what:
            return f"rows and columns are both {axis.what}."
        if any(metric.aesthetic == (axis.what == AESTHETICS) for metric in self.metrics):
            return f"the other axis sets the only metric of {axis.what}."
        return f"the adapter has no metric of {axis.what}."


def axis(what: str, text: str, name: str, metrics: Sequence[MetricStatistics], known: Collection[str] = ()) -> Axis:
    """An axis as it is written.

    Args:
        what: ``quality``, ``aesthetics``, ``strength`` or a metric of the adapter.
        text: numbers separated by commas, semicolons or spaces.
        name: of the input, for messages.
        metrics: the adapter's.
        known: names of all metrics that exist, to suggest one.

    Raises:
        ValueError: a number cannot be read or is no percentile, or there is no such metric.
    """
    what = what.strip()
    if what not in (QUALITY, AESTHETICS, STRENGTH, *(metric.name for metric in metrics)):
        here = [QUALITY, AESTHETICS, STRENGTH, *(metric.name for metric in metrics)]
        raise ValueError(f"The {name} of a sweep: {unknown_metric(what, here, known)}")
    values = numbers(text, name, _example(what))
    return Axis(what, tuple(values if what == STRENGTH else checked_percentiles(values, text, name)))


def checked_percentiles(values: list[float], text: str, name: str) -> list[float]:
    """Refuse what is outside 0...100."""
    if any(not 0 <= value <= 100 for value in values):
        raise ValueError(f"The {name} {quoted(text)} must be percentiles from 0 to 100.")
    return values


def moved_by(what: str, metrics: Sequence[MetricStatistics]) -> list[str]:
    """Names of the metrics whose requests ``what`` (quality, aesthetics or a metric) sets together."""
    if what in (QUALITY, AESTHETICS):
        return [metric.name for metric in metrics if metric.aesthetic == (what == AESTHETICS)]
    return [metric.name for metric in metrics if metric.name == what]


def _moves(axis: Axis, other: Axis | None, metrics: Sequence[MetricStatistics]) -> bool:
    """Whether an axis changes something: a metric wins over quality and aesthetics."""
    if other is not None and axis.what == other.what:
        return False
    taken = [other.what] if other is not None else []
    return axis.what == STRENGTH or any(name not in taken for name in moved_by(axis.what, metrics))


def _example(what: str) -> str:
    return "strengths such as 0, 0.5, 1" if what == STRENGTH else f"{what} percentiles such as 1, 50, 99"
