"""``table.json``: what a table holds, and what it was made with."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field
from typing_extensions import TypedDict

from ..files import Text, WrongFile, read_json, shown, write_json
from ..iqa_models import catalogue

CONTENTS = "table.json"

Flag = Annotated[bool, Field(strict=True)]


class Meaning(TypedDict):
    """What a score of an imported column says, see :class:`..quality.statistics.MetricStatistics`."""

    higher_is_better: Flag
    aesthetic: Flag


@dataclass(frozen=True)
class Contents:
    """What a table holds.

    Two are equal when they hold the same, whatever made it.

    Attributes:
        kind: ``score``, or ``reference`` for activations.
        models: metrics, one column each; for activations the IQA model.
        protocol: how the pictures were resized, see :mod:`..quality.resize`; empty where it is not known.
        layer, pooling: of activations.
        imported: of scores from a file: what they mean, by metric. Empty where IQA models made the table.
        weights: SHA-256 of the weight files that made it, by metric and file name; none for formulas.
        versions: of the packages that made it, by metric: ``pyiqa 0.1.15``; several where one followed another.
    """

    kind: Literal["score", "reference"]
    models: Annotated[tuple[Text, ...], Field(min_length=1, max_length=1000)]
    protocol: Text
    layer: Text = ""
    pooling: Text = ""
    imported: dict[Text, Meaning] = field(default_factory=dict, hash=False)
    weights: dict[Text, dict[Text, Text]] = field(default_factory=dict, compare=False)
    versions: dict[Text, Text] = field(default_factory=dict, compare=False)

    def write(self, folder: Path) -> None:
        """Begin a table, or make sure that the one in the folder holds the same, made with the same weights.

        Raises:
            ValueError: it does not.
        """
        if not (folder / CONTENTS).is_file():
            self.put(folder)
            return
        there = Contents.read(folder)
        if there != self:
            raise ValueError(f"{folder} already holds a table of {there}, not of {self}. Choose another name.")
        if others := [text for name in self.models if (text := self._other_weights(there, name))]:
            raise ValueError(
                f"{folder} was scored with other weights of {'; of '.join(others)}. Score into a table of another "
                "name, or put back the weights that were used and load the model again."
            )

    def put(self, folder: Path) -> None:
        """Write it, whatever is there."""
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / CONTENTS, dataclasses.asdict(self))

    def add_to(self, folder: Path) -> bool:
        """Note in the folder's table that what made this one makes some of its rows, too.

        Returns:
            Whether the table did not say before which weights made it.
        """
        there = Contents.read(folder)
        versions = dict(there.versions)
        for name, version in self.versions.items():
            known = versions.get(name, version)
            versions[name] = known if version in known.split(", ") else f"{known}, {version}"
        merged = dataclasses.replace(there, weights=self.weights | there.weights, versions=versions)
        if dataclasses.asdict(merged) != dataclasses.asdict(there):
            merged.put(folder)
        return bool(self.weights.keys() - there.weights.keys())

    def _other_weights(self, there: Contents, name: str) -> str:
        """What differs; empty where nothing does, or one of the two does not say."""
        before, now = there.weights.get(name), self.weights.get(name)
        if not before or not now or before == now:
            return ""
        was, new = ([f"{file} {known[file]:.12}" for file in sorted(known) if other.get(file) != known[file]]
                    for known, other in ((before, now), (now, before)))  # fmt: skip
        return f"{name} (SHA-256 of {shown(' and '.join(was))}, now {shown(' and '.join(new))})"

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

    def meaning(self, metric: str) -> Meaning:
        """Of a column of scores.

        Raises:
            ValueError: the metric is neither imported nor of the catalogue.
        """
        if metric in self.imported:
            return self.imported[metric]
        entry = catalogue.find(metric)
        return {"higher_is_better": entry.higher_is_better, "aesthetic": entry.aesthetic}

    @property
    def remedy(self) -> str:
        """What to do where rows and pictures do not fit."""
        return "import their scores again" if self.imported else "score the set again: only what changed is scored anew"

    def __str__(self) -> str:
        if self.imported:
            return f"{', '.join(self.models)} (imported scores{f', resize {self.protocol}' if self.protocol else ''})"
        where = f", layer {self.layer}, pooling {self.pooling}" if self.kind == "reference" else ""
        return f"{', '.join(self.models)} ({self.kind}, resize {self.protocol}{where})"
