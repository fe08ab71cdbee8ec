"""Keys of a file of scores -> pictures of a set, as people name them: with and without folders and endings."""

from __future__ import annotations

import os
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np

from ..files import shown
from ..pictures.pixels import SUFFIXES
from ..pictures.reading import Picture

Place = tuple[tuple[str, ...], str]  # folders and name without ending; the ending


def match_keys(
    keys: Sequence[str], pictures: Sequence[Picture], values: np.ndarray, column: str, origin: str
) -> np.ndarray:
    """Find the picture of each row.

    ``photos\\\\cats\\\\1.png``, ``cats/1.png``, ``1.png`` and ``1`` all name the picture ``cats/1.png``, as long as no
    other picture could be meant. A key that is exact wins over others that may mean the same picture.

    Args:
        values: ``[rows, m]``; several rows of one picture are allowed where they say the same.
        column, origin: of the keys, and the file that has it, for messages.

    Returns:
        ``[rows]`` number of the picture; -1 for rows without one.

    Raises:
        ValueError: a key may mean several pictures, or a picture has several rows that do not say the same.
    """
    by_name: dict[str, list[int]] = defaultdict(list)
    places = [_place(picture.key) for picture in pictures]
    for number, (folders, _) in enumerate(places):
        by_name[folders[-1]].append(number)
    rows = [_place(key) for key in keys]
    found = np.full(len(keys), -1, np.int64)
    added: dict[int, tuple] = {}  # row -> what its key has more or less than the picture's
    for row, place in enumerate(rows):
        candidates = _best([(_difference(place, places[number]), number) for number in by_name.get(place[0][-1], ())])
        if len(candidates) > 1:
            first, second = (shown(pictures[number].key) for _, number in candidates[:2])
            raise ValueError(
                f"{shown(keys[row])} in the column {shown(column)} may mean {first} or {second}. Write whole paths "
                f"below the folder of pictures into that column of {origin}, or choose another with --key."
            )
        for difference, number in candidates:
            found[row], added[row] = number, difference
    _choose_rows(keys, found, added, values, pictures, origin)
    return found


def _place(key: str) -> Place:
    """Without what differs between systems: separators, ``./``, accents as two characters."""
    path = unicodedata.normalize("NFC", key.strip()).replace("\\", "/")
    parts = [part for part in os.path.normpath(path).replace("\\", "/").split("/") if part and part != "."]
    if not parts:
        return ("",), ""
    stem, suffix = os.path.splitext(parts[-1])
    if suffix.lower() not in SUFFIXES:
        stem, suffix = parts[-1], ""
    return (*parts[:-1], stem), suffix.lower()


def _difference(row: Place, picture: Place) -> tuple | None:
    """How a key differs from a picture's: rank (0 best), folders more or less, ending; None if it is another."""
    (path, ending), (whole, suffix) = row, picture
    if ending and suffix and ending != suffix:
        return None
    is_short = len(path) < len(whole)
    long, short = (whole, path) if is_short else (path, whole)
    if long[len(long) - len(short) :] != short:
        return None
    extra = long[: len(long) - len(short)]
    return 0 if not extra else 2 if is_short else 1, extra, ending != suffix


def _best(candidates: list[tuple[tuple | None, int]]) -> list[tuple[tuple, int]]:
    """The pictures that a key fits best; several of them only if they fit alike."""
    there = [(difference, number) for difference, number in candidates if difference is not None]

    def order(difference: tuple) -> tuple:
        rank, extra, ending = difference
        return rank, ending, len(extra) if rank == 1 else 0  # of longer keys the nearest, as no two are alike

    best = min((order(difference) for difference, _ in there), default=None)
    return [(difference, number) for difference, number in there if order(difference) == best]


def _choose_rows(
    keys: Sequence[str],
    found: np.ndarray,
    added: dict[int, tuple],
    values: np.ndarray,
    pictures: Sequence[Picture],
    origin: str,
) -> None:
    """Leave one row per picture in ``found``: the exact one, else one whose key differs as most keys do."""
    usual = Counter(difference[:2] for difference in added.values())

    def merit(row: int) -> tuple:
        rank, extra, _ = added[row]
        return rank > 0, -usual[rank, extra]

    rows_of: dict[int, list[int]] = defaultdict(list)
    for row in sorted(added, key=merit):
        rows_of[int(found[row])].append(row)
    for number, (first, *rest) in rows_of.items():
        for row in rest:
            if merit(row) == merit(first) and not np.array_equal(values[row], values[first], equal_nan=True):
                raise ValueError(
                    f"{shown(pictures[number].key)} has several rows that do not say the same ({shown(keys[first])}, "
                    f"row {first + 1}, and {shown(keys[row])}, row {row + 1}). Leave one of them in {origin}, for "
                    "example their mean."
                )
        found[rest] = -1
