"""The table that scoring a set of pictures leaves behind, and its reading.

A table is a folder:

* ``table.json``: what was measured, and how, see :mod:`.contents`;
* ``000000.parquet`` and so on: ``key``, ``width``, ``height`` of each picture, one column per metric, and what tells
  the picture apart from others: ``bytes``, ``offset``, ``time``, ``digest``, see :mod:`.pictures_seen` (tables of
  version 0.1.0 lack these);
* ``000000.safetensors`` beside it, for tables of activations: ``features`` ``[rows, dim]`` float16, in the same order.
  Reading 100,000 x 256 values took 0.034 s from safetensors, 0.14 s from a plain and 0.70 s from a compressed Parquet
  list (one thread, file in the cache), so a million rows take 0.3 s in place of 1.4 s and 7 s;
* ``statistics.json``: how many rows there are, and mean, standard deviation and percentiles over all of them. It is
  removed before rows change, and written when they are complete;
* ``unreadable.txt``: pictures that have no row, with the reason. Those that could be read, but for which a metric has
  no answer, are in the table, too, with NaN. ``unreadable.parquet`` tells these pictures apart from others.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..iqa_models import catalogue
from ..quality.names import unknown_metric
from ..quality.statistics import MetricStatistics
from . import table_statistics
from .contents import CONTENTS, Contents
from .rows import Rows, keys, shards
from .stored import keys_in
from .table_statistics import STATISTICS, measure
from .unreadable import UNREADABLE

__all__ = [
    "CONTENTS",
    "STATISTICS",
    "UNREADABLE",
    "Contents",
    "Rows",
    "ScoredTable",
    "keys",
    "keys_in",
    "measure",
    "shards",
]


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
        rows = Rows.read_all(folder, contents)
        statistics = table_statistics.read(folder, contents, rows) if rows else None
        if rows is None or statistics is None:
            raise ValueError(f"Scoring of {folder} has not finished; start it again, it goes on where it was.")
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
