"""Scores for people: a table, a CSV file, captions, and what the front end draws bars from."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence

from ..quality.resize import in_words
from ..quality.standing import Standing, standing
from ..quality.statistics import cc3m_statistics
from . import catalogue
from .scoring import Scores

ROWS_OF_TABLE = 24
ARROWS = ("\u2193", "\u2191")  # lower is better, higher is better


def standings(scores: Scores, row: Sequence[float]) -> list[Standing]:
    """What the raw scores of one picture mean, metric by metric."""
    known = scores.statistics()
    entries = [catalogue.find(name) for name in scores.metrics]
    return [
        standing(raw, entry.minimum, entry.maximum, entry.higher_is_better, known.get(entry.name))
        for entry, raw in zip(entries, row, strict=True)
    ]


def meanings(scores: Scores) -> list[dict]:
    """Plain JSON, an entry per metric: direction, range, and per cent of the reference pictures that are worse."""
    columns = zip(*(standings(scores, row) for row in scores.values.tolist()), strict=True)
    found = []
    for name, column in zip(scores.metrics, columns, strict=True):
        entry = catalogue.find(name)
        found.append({
            "name": name,
            "higher_is_better": entry.higher_is_better,
            "low": entry.minimum if math.isfinite(entry.minimum) else None,
            "high": entry.maximum if math.isfinite(entry.maximum) else None,
            "better_than": [each.better_than for each in column],
        })  # fmt: skip
    return found


def table(scores: Scores) -> str:
    """One line per image, a column per metric with an arrow towards better, and the mean of several images.

    Behind a raw value stands a bar from worst to best, on the metric's range or by percentile; where the metric has
    statistics that hold for it, its z-score, percentile and a word, too. Where they only hold for another resize, a
    last line says so.
    """
    rows = [["", *(f"{name} {arrow(name)}" for name in scores.metrics)]]
    shown = scores.values[:ROWS_OF_TABLE]
    rows += [[f"image {number}", *_cells(scores, row)] for number, row in enumerate(shown.tolist(), 1)]
    if len(scores) > len(shown):
        rows.append([f"... {len(scores) - len(shown)} more", *[""] * len(scores.metrics)])
    if len(scores) > 1:
        rows.append(["mean", *_cells(scores, scores.values.nanmean(0).tolist())])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    return "\n".join(lines + _note(scores))


def comma_separated(scores: Scores) -> str:
    """A CSV file: a line per image, and for every metric the raw score, and z-score and percentile where known."""
    known = scores.statistics()
    columns = ["image"]
    for name in scores.metrics:
        columns += [name, *([f"{name} z-score", f"{name} better than %"] if name in known else [])]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    for number, row in enumerate(scores.values.tolist(), 1):
        cells: list[object] = [number]
        for name, raw, found in zip(scores.metrics, row, standings(scores, row), strict=True):
            finite = math.isfinite(raw)
            cells.append(f"{raw:.6g}" if finite else "")
            if name in known:
                cells += [f"{known[name].z_score(raw):.4f}", f"{found.better_than:.2f}"] if finite else ["", ""]
        writer.writerow(cells)
    return text.getvalue()


def arrow(metric: str) -> str:
    """Up where higher is better, else down."""
    return ARROWS[catalogue.find(metric).higher_is_better]


def _note(scores: Scores) -> list[str]:
    elsewhere = {known.resize for name, known in cc3m_statistics().items() if name in scores.metrics} - {scores.resize}
    return [
        f"z-scores and percentiles are known for pictures {in_words(resize)}, but these were judged "
        f"{in_words(scores.resize)}; set resize to {resize} to see them."
        for resize in sorted(elsewhere)
    ]


def _cells(scores: Scores, row: Sequence[float]) -> list[str]:
    known = scores.statistics()
    cells = []
    for name, raw, found in zip(scores.metrics, row, standings(scores, row), strict=True):
        cell = f"{raw:.4g} {found.bar}".rstrip()
        if found.better_than is not None:
            cell += f" ({known[name].z_score(raw):+.2f}z, {found.better_than:.3g} %, {found.word})"
        cells.append(cell)
    return cells
