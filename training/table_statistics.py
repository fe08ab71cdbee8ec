"""``statistics.json``: how scores or activations are distributed over the rows of a table."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from typing_extensions import NotRequired, TypedDict

from ..adapter.metadata import MetricEntry
from ..files import Finite, Positive, WrongFile, read_json, shown, write_json
from ..quality.statistics import MetricStatistics
from .contents import Contents
from .rows import Rows, read_numbers, shards

STATISTICS = "statistics.json"
ALIKE = 1e-9  # relative; means of the same numbers differ by less


class _Scored(TypedDict):
    rows: NotRequired[int]
    metrics: list[MetricEntry]


class _Moments(TypedDict):
    rows: NotRequired[int]
    count: int
    mean: list[Finite]
    std: list[Positive]


def measure(folder: Path) -> None:
    """Write ``statistics.json`` of all rows."""
    contents = Contents.read(folder)
    parts = [read_numbers(path, contents)[1] for path in shards(folder)]
    count = {"rows": sum(map(len, parts))}
    exact = (values.numpy().astype(np.float64) for values in parts)
    if contents.kind == "reference":
        write_json(folder / STATISTICS, count | _moments(exact))
        return
    columns = np.concatenate(list(exact)).T
    known = [_statistics(name, column, contents) for name, column in zip(contents.models, columns, strict=True)]
    stored = [{**metric.to_json(), "missing": metric.missing} for metric in known]
    write_json(folder / STATISTICS, count | {"metrics": stored})


def forget(folder: Path) -> None:
    """Before rows change: a table without statistics is not finished, whenever the process ends."""
    (folder / STATISTICS).unlink(missing_ok=True)


def read(folder: Path, contents: Contents, rows: Rows) -> dict | None:
    """What was measured, if it is of these rows; None if it is of others, or nothing was measured.

    Raises:
        WrongFile: it cannot be understood.
    """
    if not (folder / STATISTICS).is_file():
        return None
    if contents.kind == "score":
        scored = read_json(folder / STATISTICS, _Scored)
        _check(scored["metrics"], folder / STATISTICS)
        right = scored["rows"] == len(rows) if "rows" in scored else _fit(scored["metrics"], contents, rows)
        return dict(scored) if right else None
    moments = read_json(folder / STATISTICS, _Moments)
    right = moments["count"] == int(rows.values.isfinite().all(1).sum())
    return dict(moments) if right and moments.get("rows", len(rows)) == len(rows) else None


def _check(metrics: list[MetricEntry], path: Path) -> None:
    """Whether the numbers of each metric make sense together."""
    try:
        for metric in metrics:
            MetricStatistics.from_json(metric)
    except ValueError as error:
        raise WrongFile(f"{shown(path)}: {error} Delete it, and start the scoring again.") from error


def _fit(metrics: list, contents: Contents, rows: Rows) -> bool:
    """Whether means are those of the rows: earlier versions did not write how many rows they measured."""
    stored = {metric["name"]: metric.get("mean") for metric in metrics}
    for name, column in zip(contents.models, rows.values.T.numpy().astype(np.float64), strict=True):
        mean, known = stored.get(name), column[np.isfinite(column)]
        if isinstance(mean, float) and not (len(known) and math.isclose(mean, known.mean(), rel_tol=ALIKE)):
            return False
    return True


def _statistics(name: str, values: np.ndarray, contents: Contents) -> MetricStatistics:
    return MetricStatistics.of(name, values, **contents.meaning(name), resize=contents.protocol)


def _moments(parts: Iterable[np.ndarray]) -> dict:
    """Mean and standard deviation per activation over the rows without NaN.

    The standard deviation is 1 for activations that never change, which stay 0 after standardising.
    """
    count, mean, squares = 0, 0.0, 0.0
    for values in parts:
        values = values[np.isfinite(values).all(1)]
        if not len(values):
            continue
        # Chan, Golub, LeVeque: Updating formulae for computing sample variances (1979)
        step = values.mean(0) - mean
        total = count + len(values)
        squares = squares + ((values - values.mean(0)) ** 2).sum(0) + step**2 * count * len(values) / total
        mean = mean + step * len(values) / total
        count = total
    if not count:
        raise ValueError("The IQA model has no finite activations for any of the pictures; choose another layer.")
    std = np.sqrt(squares / count)
    return {"count": count, "mean": mean.tolist(), "std": np.where(std > 0, std, 1.0).tolist()}
