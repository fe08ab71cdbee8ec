"""What an experiment is: it names the pictures and measures it needs, and makes a table, a picture and a sentence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from .cells import Cell, Kept
from .comparing import Wanted
from .plan import Settings
from .session import Session


@dataclass(frozen=True)
class Table:
    """Rows of text under a header; a title where an experiment has several."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    title: str = ""

    def markdown(self) -> list[str]:
        """Lines."""
        lines = [f"**{self.title}**", ""] if self.title else []
        lines += [f"| {' | '.join(self.header)} |", "| --- " * len(self.header) + "|"]
        return lines + [f"| {' | '.join(row)} |" for row in self.rows]


@dataclass
class Result:
    """What came out of an experiment.

    Attributes:
        sentence: what came out, in words.
        tables: the numbers.
        figure: PNG.
        caption: what the figure shows.
        paper: what the paper reports, and whether this is the same direction; empty where it reports nothing.
        numbers: by name, for pages that quote them.
        rows: a mapping for each picture and metric, see :func:`picture_rows`.
        notes: what should be known of it.
    """

    sentence: str
    tables: Sequence[Table]
    figure: bytes
    caption: str
    paper: str = ""
    numbers: dict[str, float] = field(default_factory=dict)
    rows: list[dict] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


class Experiment:
    """Base of experiments. A new one is a file with a subclass, and its line in :data:`.experiments.EXPERIMENTS`.

    Attributes:
        title: of its part of the report.
        question: that it answers, in a sentence.
    """

    title: ClassVar[str]
    question: ClassVar[str]

    class Options(Settings):
        """Settings of the experiment in a plan."""

    def __init__(self, session: Session, options: Settings):
        self.session, self.plan, self.options = session, session.plan, options

    def why_not(self) -> str:
        """Why it cannot be done with this plan; empty if it can."""
        return ""

    def check(self) -> None:
        """Refuse, before anything is sampled, what could not be done later.

        Raises:
            ValueError: says what to change.
        """

    def wanted(self) -> Wanted:
        """Pictures, and what is to be measured of them."""
        raise NotImplementedError

    def result(self) -> Result:
        """From pictures and measures, which are there by now."""
        raise NotImplementedError


def picture_rows(
    session: Session, cells: Sequence[Cell | Kept], measures: Sequence[str], group: str, **labels: object
) -> list[dict]:
    """A row for each picture and metric, as Parquet files have them.

    Args:
        measures: that give one number for each picture; names of ``clean/…`` stand for their raw measure.
        group: what the pictures have in common, in words.
        labels: further columns.
    """
    rows = []
    for measure in dict.fromkeys(name.removeprefix("clean/") for name in measures):
        for cell, value in zip(cells, session.values(cells, measure), strict=True):
            rows.append(picture_row(session, cell, measure, float(value), group, **labels))
    return rows


def picture_row(session: Session, cell: Cell | Kept, metric: str, value: float, group: str, **labels: object) -> dict:
    """One row."""
    known: Mapping = {"prompt": None, "seed": None, "adapter": "", "strength": np.nan}
    if isinstance(cell, Cell):
        condition = cell.condition
        strength = condition.strength if condition.adapter else np.nan
        known = {"prompt": cell.prompt, "seed": cell.seed, "adapter": condition.adapter, "strength": strength}
    digest = session.digest(cell)[:16]
    return {"group": group, **known, **labels, "picture": digest, "metric": metric, "value": value}
