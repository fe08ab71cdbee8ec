"""The table that scoring a set of pictures leaves behind, and its reading.

A table is a folder:

* ``table.json``: what was measured, and how;
* ``000000.parquet`` and so on: ``key``, ``width``, ``height`` of each picture and one column per metric;
* ``000000.safetensors`` beside it, for tables of activations: ``features`` ``[rows, dim]`` float16, in the same order.
  Reading 100,000 x 256 values took 0.034 s from safetensors, 0.14 s from a plain and 0.70 s from a compressed Parquet
  list (one thread, file in the cache), so a million rows take 0.3 s in place of 1.4 s and 7 s;
* ``statistics.json``: mean, standard deviation and percentiles over the whole set;
* ``unreadable.txt``: pictures that could not be scored, with the reason. Those that could be read, but for which a
  metric has no answer, are in the table, too, with NaN.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import torch
from pydantic import ConfigDict, Field
from torch import Tensor
from typing_extensions import TypedDict

from ..files import (
    Finite,
    Positive,
    Text,
    WrongFile,
    read_json,
    read_tensors,
    shown,
    write_json,
    write_tensors,
    written_whole,
)
from ..iqa_models import catalogue
from ..optional import needed
from ..quality.names import unknown_metric
from ..quality.statistics import MetricStatistics
from .columns import read_columns

CONTENTS, STATISTICS, UNREADABLE = "table.json", "statistics.json", "unreadable.txt"


class _Described(TypedDict):
    """A metric in ``statistics.json``; the rest is looked at where it is used."""

    __pydantic_config__ = ConfigDict(extra="allow")

    name: Text


class _Scored(TypedDict):
    metrics: list[_Described]


class _Moments(TypedDict):
    count: int
    mean: list[Finite]
    std: list[Positive]


@dataclass(frozen=True)
class Contents:
    """What a table holds.

    Attributes:
        kind: ``score``, or ``reference`` for activations.
        models: metrics, one column each; for activations the IQA model.
        protocol: how the pictures were resized, see :mod:`..quality.resize`.
        layer, pooling: of activations.
    """

    kind: Literal["score", "reference"]
    models: Annotated[tuple[Text, ...], Field(min_length=1, max_length=1000)]
    protocol: Text
    layer: Text = ""
    pooling: Text = ""

    def write(self, folder: Path) -> None:
        """Begin a table, or make sure that the one in the folder holds the same.

        Raises:
            ValueError: it holds something else.
        """
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / CONTENTS).is_file():
            write_json(folder / CONTENTS, dataclasses.asdict(self))
        elif (there := Contents.read(folder)) != self:
            raise ValueError(f"{folder} already holds a table of {there}, not of {self}. Choose another name.")

    @classmethod
    def read(cls, folder: Path) -> Contents:
        """Inverse of :meth:`write`.

        Raises:
            ValueError: the folder holds no table.
        """
        try:
            return read_json(folder / CONTENTS, cls)
        except (OSError, ValueError) as error:
            raise WrongFile(
                f"{shown(folder)} holds no table of scores ({shown(error)}). Make one: Score Dataset, or "
                "`iqa.py score`."
            ) from error

    def __str__(self) -> str:
        where = f", layer {self.layer}, pooling {self.pooling}" if self.kind == "reference" else ""
        return f"{', '.join(self.models)} ({self.kind}, resize {self.protocol}{where})"


@dataclass(frozen=True)
class Rows:
    """Rows of a table.

    Attributes:
        keys: of the pictures.
        sizes: ``[rows, 2]`` width and height in pixels.
        values: ``[rows, m]`` raw scores (float32) or activations (float16).
    """

    keys: list[str]
    sizes: Tensor
    values: Tensor

    def write(self, folder: Path, number: int, contents: Contents) -> None:
        """Add a shard; it is there when it is complete."""
        with needed("pyarrow"):
            import pyarrow
            import pyarrow.parquet as parquet
        columns = {"key": self.keys, "width": self.sizes[:, 0].numpy(), "height": self.sizes[:, 1].numpy()}
        path = folder / f"{number:06d}.parquet"
        if contents.kind == "reference":
            write_tensors(path.with_suffix(".safetensors"), {"features": self.values.half()})
        else:
            columns |= {name: column.numpy() for name, column in zip(contents.models, self.values.T, strict=True)}
        with written_whole(path) as temporary:
            parquet.write_table(pyarrow.table(columns), temporary)

    @classmethod
    def read(cls, path: Path, contents: Contents) -> Rows:
        """Inverse of :meth:`write`.

        Raises:
            FileNotFoundError: of activations, the file beside it.
            WrongFile: one is damaged, or not of such a table.
        """
        columns = dict.fromkeys(contents.models, float) if contents.kind == "score" else {}
        keys, width, height, *scores = read_columns(path, {"key": str, "width": int, "height": int, **columns})
        keys = keys.tolist()
        sizes = torch.from_numpy(np.stack([width, height], 1).astype(np.int64))
        if contents.kind == "score":
            return cls(keys, sizes, torch.from_numpy(np.stack(scores, 1).astype(np.float32)))
        content, _ = read_tensors(path.with_suffix(".safetensors"))
        values = content.get("features") if isinstance(content, dict) else None
        if not isinstance(values, Tensor) or values.ndim != 2 or len(values) != len(keys) or not values.numel():
            raise WrongFile(f"{shown(path)} has no activations beside it, or not as many. Score these pictures again.")
        return cls(keys, sizes, values)


def shards(folder: Path) -> list[Path]:
    """Complete shards of a table, in order."""
    return sorted(folder.glob("*.parquet"))


def keys(folder: Path) -> set[str]:
    """Of the pictures that were scored."""
    return {key for path in shards(folder) for key in read_columns(path, {"key": str})[0].tolist()}


def unanswered(folder: Path) -> list[str]:
    """A line for each picture that has a row, but not a number of every model."""
    contents, lines = Contents.read(folder), []
    for path in shards(folder):
        rows = Rows.read(path, contents)
        answered = rows.values.isfinite()
        if contents.kind == "reference":
            answered = answered.all(1, keepdim=True)
        for key, there in zip(rows.keys, answered.tolist(), strict=True):
            without = [name for name, number in zip(contents.models, there, strict=True) if not number]
            if without:
                lines.append(f"{key}: {' and '.join(without)} has no answer for it (NaN)")
    return lines


def measure(folder: Path) -> None:
    """Write ``statistics.json`` of all rows."""
    contents = Contents.read(folder)
    parts = (Rows.read(path, contents).values.numpy().astype(np.float64) for path in shards(folder))
    if contents.kind == "reference":
        write_json(folder / STATISTICS, _moments(parts))
    else:
        columns = np.concatenate(list(parts)).T
        known = [_statistics(name, column, contents.protocol)
                 for name, column in zip(contents.models, columns, strict=True)]  # fmt: skip
        stored = [{**metric.to_json(), "missing": metric.missing} for metric in known]
        write_json(folder / STATISTICS, {"metrics": stored})


def _statistics(name: str, values: np.ndarray, resize: str) -> MetricStatistics:
    entry = catalogue.find(name)
    facts = {"higher_is_better": entry.higher_is_better, "aesthetic": entry.aesthetic, "resize": resize}
    return MetricStatistics.of(name, values, **facts)


def _moments(parts) -> dict:
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


@dataclass(frozen=True)
class ScoredTable:
    """A whole table in memory.

    Attributes:
        folder: of the table.
        contents: what it holds.
        rows: all of them.
        statistics: ``statistics.json``.
    """

    folder: Path
    contents: Contents
    rows: Rows
    statistics: dict

    @classmethod
    def read(cls, folder: str | Path) -> ScoredTable:
        """Read a finished table.

        Raises:
            ValueError: the folder holds none, scoring has not finished, or a file of it is damaged.
        """
        folder = Path(folder)
        contents = Contents.read(folder)
        parts = [Rows.read(path, contents) for path in shards(folder)]
        if not parts or not (folder / STATISTICS).is_file():
            raise ValueError(f"Scoring of {folder} has not finished; start it again, it goes on where it was.")
        rows = Rows(
            [key for part in parts for key in part.keys],
            torch.cat([part.sizes for part in parts]),
            torch.cat([part.values for part in parts]),
        )
        statistics = read_json(folder / STATISTICS, _Scored if contents.kind == "score" else _Moments)
        return cls(folder, contents, rows, statistics)

    def metrics(self, names: tuple[str, ...] = ()) -> list[MetricStatistics]:
        """Statistics of the named metrics, of all without a name.

        Raises:
            ValueError: the table has no scores of a metric, or scores that cannot be standardised.
        """
        if self.contents.kind != "score":
            raise ValueError(f"{self.folder} holds activations ({self.contents}), no scores.")
        stored = {entry["name"]: entry for entry in self.statistics["metrics"]}
        for name in names:
            if name not in stored:
                problem = unknown_metric(name, stored, catalogue.names())
                raise ValueError(f"The table {self.folder} has no such column. {problem}")
        known = [MetricStatistics.from_json({"protocol": self.contents.protocol} | stored[name])
                 for name in names or stored]  # fmt: skip
        for metric in known:
            if not metric.known:
                raise ValueError(
                    f"The scores of {metric.name} in {self.folder} are all the same or missing, so there is nothing to "
                    "learn from them; leave the metric out or score other pictures."
                )
        return known
