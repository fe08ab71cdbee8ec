"""Scoring that goes on: the rows of a table follow the pictures that are there now.

Rows of renamed pictures get the new key, rows of replaced and deleted pictures are dropped, and rows of a table of
version 0.1.0 learn which picture they are of. Shards change one by one: the new one is written under the next number,
then the old one is removed, so a process that is killed loses nothing; what is double then is found here the next time.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from ..files import shown
from ..pictures.pixels import size_of
from ..pictures.reading import Picture
from . import table_statistics
from .columns import read_columns
from .contents import Contents
from .pictures_seen import AT_ONCE, SEEN, THREADS, Comparison, Seen, compare, digest
from .rows import Rows, next_number, remove, shards


def refresh(folder: Path, contents: Contents, pictures: Sequence[Picture]) -> list[str]:
    """Make the rows of a table those of the pictures, as far as they have been scored.

    Returns:
        What the user should know.

    Raises:
        ValueError: the table is of none of these pictures, which then are the wrong ones; or a shard is damaged.
        OSError: a picture is not there.
    """
    parts = [_keys_and_seen(path) for path in shards(folder)]
    keys, seen = [key for part, _ in parts for key in part], Seen.joined([known for _, known in parts])
    if not keys:
        return []
    found = compare(pictures, keys, seen)
    if (found.rows < 0).all() and not found.replaced:
        raise ValueError(
            f"The table {folder} is of none of these pictures (its first is {shown(keys[0])}, theirs is "
            f"{shown(pictures[0].key)}). Choose the pictures that were scored, or another name for the table."
        )
    has_unknown = not seen.digests.known[found.rows[found.rows >= 0]].all()
    is_renamed, start = np.zeros(len(pictures), bool), 0
    is_renamed[found.renamed] = True
    order = np.argsort(found.rows, kind="stable")  # pictures by their rows
    for path, (part, known) in zip(shards(folder), parts, strict=True):
        begin, end = np.searchsorted(found.rows, (start, start + len(part)), sorter=order)
        numbers = order[begin:end]
        rows = found.rows[numbers] - start
        if len(rows) != len(part) or is_renamed[numbers].any() or not _is_known(known, rows, found.now, numbers):
            _write_anew(path, contents, pictures, found.now, numbers, rows)
        start += len(part)
    notes = _notes(keys, pictures, found)
    if has_unknown:
        notes.append(
            f"{folder} was begun by a version that did not write down which pictures it saw: they are taken to be "
            "those that are there now, where they have the size of the scored ones."
        )
    return notes


def _keys_and_seen(path: Path) -> tuple[list[str], Seen]:
    keys, *seen = read_columns(path, {"key": str}, SEEN)
    return keys.tolist(), Seen.of_columns(*seen) if seen else Seen.unknown(len(keys))


def _is_known(seen: Seen, rows: np.ndarray, now: Seen, numbers: np.ndarray) -> bool:
    """Whether rows remember their pictures as they are now."""
    return bool(seen.digests.known.all()) and bool((now.places[numbers] == seen.places[rows]).all())


def _write_anew(
    path: Path, contents: Contents, pictures: Sequence[Picture], now: Seen, numbers: np.ndarray, rows: np.ndarray
) -> None:
    """Put another shard in the place of one.

    Args:
        numbers: of the pictures that it is to hold.
        rows: of the old shard, for each of them.
    """
    table_statistics.forget(path.parent)
    old = Rows.read(path, contents, mapped=False)
    kept = _with_digests(pictures, now, numbers, old.sizes[rows].tolist())
    numbers, rows = numbers[kept], rows[kept]
    if len(rows):
        seen = now.take(numbers)
        new = Rows([pictures[number].key for number in numbers], old.sizes[rows], old.values[rows], seen)
        new.write(path.parent, next_number(path.parent), contents)
    remove(path)


def _with_digests(pictures: Sequence[Picture], now: Seen, numbers: np.ndarray, sizes: list) -> np.ndarray:
    """Digests of the pictures whose rows had none; which of the pictures are as large as the scored ones, or had one.

    Args:
        sizes: width and height of the scored pictures.
    """

    def of(place: int) -> str:
        number = numbers[place]
        if now.digests[number]:
            return now.digests[number]
        try:
            data = pictures[number].content()
            return digest(data) if list(size_of(data)) == sizes[place] else ""
        except (OSError, ValueError):
            return ""

    with ThreadPoolExecutor(THREADS) as pool:
        for start in range(0, len(numbers), AT_ONCE):
            part = range(start, min(start + AT_ONCE, len(numbers)))
            for place, text in zip(part, pool.map(of, part), strict=True):
                now.digests[numbers[place]] = text
    return now.digests.known[numbers]


def _notes(keys: Sequence[str], pictures: Sequence[Picture], found: Comparison) -> list[str]:
    groups = {
        "renamed since they were scored, and keep their rows": [pictures[number].key for number in found.renamed],
        "replaced since they were scored, and are scored again": [pictures[number].key for number in found.replaced],
    }
    notes = [f"{len(names)} pictures were {what}: {shown(names[0])}{' and others' if len(names) > 1 else ''}."
             for what, names in groups.items() if names]  # fmt: skip
    gone = [keys[row] for row in found.gone]
    if gone:
        others = " and others" if len(gone) > 1 else ""
        notes.append(f"{len(gone)} rows are of pictures that are gone, and are dropped: {shown(gone[0])}{others}.")
    return notes
