"""Scores that others gave -> a table: opinions of people, metrics of a colleague, the paper's own files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch

from ..files import shown
from ..pictures.captions import NAMES
from ..pictures.pixels import decode
from ..pictures.reading import Picture
from . import unreadable
from .contents import CONTENTS, Contents
from .import_columns import Column, parse_columns
from .import_keys import match_keys
from .observer import Progress, Silent
from .pictures_seen import THREADS, Seen, look
from .rows import Rows, remove, shards, unanswered
from .score_files import ScoreFile
from .table_statistics import forget, measure

KEYS = (*NAMES, "image_file", "image_name", "name", "key", "id")  # columns that may hold keys, the first that is there
SHARD = 1000  # pictures


def import_scores(
    pictures: Sequence[Picture],
    file: Path,
    columns: Sequence[str],
    folder: Path,
    key: str = "",
    resize: str = "",
    progress: Callable[[int], Progress] = lambda total: Silent(),
) -> list[str]:
    """Make a table of columns of a file. One that was imported before is replaced.

    Every picture is read once, so that damaged ones are left out as when they are scored.

    Args:
        pictures: that the scores are of.
        file: CSV, TSV, Parquet or Feather.
        columns: see :func:`.import_columns.parse_columns`.
        folder: of the table.
        key: column that names the pictures; empty for the first of ``KEYS`` that is there.
        resize: how pictures were scaled for these scores, see :mod:`..quality.resize`; empty where it is not known.

    Returns:
        What the user should know.

    Raises:
        OSError: there is no such file.
        ValueError: the file, a column or a key cannot be understood or no key is that of a picture, or the folder holds
            a table that IQA models made. Nothing is changed then.
    """
    source = ScoreFile(Path(file).expanduser())
    chosen, key = parse_columns(columns, source), key or _key_column(source)
    contents = _contents(chosen, resize)
    if (folder / CONTENTS).is_file() and not (there := Contents.read(folder)).imported:
        raise ValueError(f"{folder} already holds a table of {there}, not of {contents}. Choose another name.")
    keys, values = source.keys(key), np.stack([column.values(source) for column in chosen], 1)
    rows = match_keys(keys, pictures, values, key, shown(source.path.name))
    notes = [column.note for column in chosen if column.note] + _notes(source, key, keys, rows, pictures)
    row_of = {int(number): row for row, number in enumerate(rows.tolist()) if number >= 0}
    forget(folder)
    for path in shards(folder):
        remove(path)
    contents.put(folder)
    damaged = _write_rows(pictures, row_of, values, folder, contents, progress(len(row_of)))
    measure(folder)
    lines = unanswered(folder) + [f"{shown(picture.key)}: {shown(reason)}" for picture, reason in damaged]
    lines += [f"{shown(picture.key)}: {shown(source.path.name)} has no row for it"
              for number, picture in enumerate(pictures) if number not in row_of]  # fmt: skip
    lines += getattr(pictures, "left_out", [])
    unreadable.write(folder, lines, [picture for picture, _ in damaged])
    if damaged:
        notes.append(f"{len(damaged)} pictures cannot be read and are left out, {shown(damaged[0][0].key)} among them.")
    return notes


def _key_column(file: ScoreFile) -> str:
    found = [name for name in KEYS if name in file.columns]
    if not found:
        raise ValueError(
            f"{shown(file.path)} has no column {', '.join(KEYS)}; say with --key which of its columns names the "
            f"pictures: {shown(', '.join(file.columns))}."
        )
    return found[0]


def _contents(columns: Sequence[Column], resize: str) -> Contents:
    resizes = {column.resize for column in columns}
    return Contents(
        "score",
        tuple(column.name for column in columns),
        resize or (resizes.pop() if len(resizes) == 1 else ""),
        imported={column.name: column.meaning for column in columns},
    )


def _notes(file: ScoreFile, key: str, keys: Sequence[str], rows: np.ndarray, pictures: Sequence[Picture]) -> list[str]:
    """What has no counterpart.

    Raises:
        ValueError: nothing has one.
    """
    name, lost = shown(file.path.name), np.flatnonzero(rows < 0).tolist()
    if len(lost) == len(keys):
        raise ValueError(
            f"None of the {len(keys)} rows of {name} names one of the {len(pictures)} pictures: its column "
            f"{shown(key)} begins with {shown(repr(keys[0]))}, the pictures with {shown(repr(pictures[0].key))}. "
            "Choose another column with --key, or other pictures."
        )
    with_row = set(rows.tolist())
    without = [picture.key for number, picture in enumerate(pictures) if number not in with_row]
    notes = []
    if lost:
        notes.append(f"{len(lost)} of {len(keys)} rows of {name} are of no picture that is here, "
                     f"{shown(keys[lost[0]])} among them.")  # fmt: skip
    if without:
        notes.append(f"{len(without)} of {len(pictures)} pictures have no row in {name} and are left out, "
                     f"{shown(without[0])} among them.")  # fmt: skip
    return notes


def _write_rows(
    pictures: Sequence[Picture], row_of: dict[int, int], values: np.ndarray, folder: Path, contents: Contents,
    bar: Progress,
) -> list[tuple[Picture, str]]:  # fmt: skip
    """Write the shards; returns the pictures that cannot be read, with the reason."""
    damaged, numbers = [], sorted(row_of)
    with ThreadPoolExecutor(THREADS) as pool:
        for shard, start in enumerate(range(0, len(numbers), SHARD)):
            part = numbers[start : start + SHARD]
            kept, sizes, seen = [], [], []
            for number, found in zip(part, pool.map(_examine, [pictures[number] for number in part]), strict=True):
                bar.update(1)
                if isinstance(found, str):
                    damaged.append((pictures[number], found))
                    continue
                kept.append(number)
                sizes.append(found[0])
                seen.append(found[1])
            if kept:
                scores = torch.from_numpy(values[[row_of[number] for number in kept]].astype(np.float32))
                keys = [pictures[number].key for number in kept]
                Rows(keys, torch.tensor(sizes), scores, Seen.joined(seen)).write(folder, shard, contents)
    if len(damaged) == len(numbers):
        raise ValueError(f"None of the {len(numbers)} pictures with a row can be read; the first one: {damaged[0][1]}.")
    return damaged


def _examine(picture: Picture) -> tuple[tuple[int, int], Seen] | str:
    """Width, height and what the picture is; or why it cannot be read."""
    try:
        seen = look(picture)
        height, width = decode(picture.content()).shape[:2]
    except (OSError, ValueError) as error:
        return str(error).removeprefix(f"{picture.key}: ")
    return (width, height), seen
