"""What a row of a table remembers of its picture, and which pictures of a set are those that rows were made of.

A picture is the same while its place is: its size, its offset in a shard, and the time when its file was last written.
Where one of them has changed, as after copying a set, the digest of its bytes decides. So a set that nobody touched
costs one ``stat`` per file, and what was touched is read once, at about the speed of the disk.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..pictures.reading import Picture, UnreadablePicture

THREADS = 8  # reading and hashing let other threads run
AT_ONCE = 10_000  # pictures that wait for a thread
SEEN = {"bytes": int, "offset": int, "time": int, "digest": str}  # columns of a table


@dataclass(frozen=True)
class Seen:
    """Pictures as they were.

    Attributes:
        places: ``[n, 3]`` int64: bytes of the picture (of a Parquet file in which it is a row), offset in its file
            (in Parquet the row), and time of the file's last change in nanoseconds.
        digests: of their bytes, see :func:`digest`; empty for those that a version without these columns scored.
    """

    places: np.ndarray
    digests: list[str]

    @classmethod
    def of(cls, pictures: Sequence[Picture]) -> Seen:
        """As they are now; every one is read.

        Raises:
            OSError: one cannot be read.
            ValueError: a row of Parquet holds none.
        """
        where = places(pictures)  # first: what is replaced meanwhile is noticed the next time
        return cls(where, [digest(picture.content()) for picture in pictures])

    @classmethod
    def unknown(cls, count: int) -> Seen:
        return cls(np.zeros((count, 3), np.int64), [""] * count)

    @classmethod
    def joined(cls, parts: Sequence[Seen]) -> Seen:
        where = np.concatenate([part.places for part in parts]) if parts else np.zeros((0, 3), np.int64)
        return cls(where, [text for part in parts for text in part.digests])

    def __len__(self) -> int:
        return len(self.digests)

    def columns(self) -> dict[str, object]:
        """By name, see ``SEEN``."""
        return dict(zip(SEEN, [*self.places.T, self.digests], strict=True))

    @classmethod
    def of_columns(cls, size: np.ndarray, offset: np.ndarray, time: np.ndarray, digests: np.ndarray) -> Seen:
        """Inverse of :meth:`columns`."""
        return cls(np.stack([size, offset, time], 1).astype(np.int64), digests.tolist())


@dataclass(frozen=True)
class Comparison:
    """A set of pictures beside the rows of a table.

    Attributes:
        rows: ``[pictures]`` number of the row that was made of each picture; -1 without one.
        now: the pictures; a digest is empty where it was not needed, or the picture cannot be read.
        renamed: numbers of the pictures whose row has another key.
        replaced: numbers of the pictures whose key has a row of another picture.
        gone: numbers of the rows that are of none of the pictures, and whose key none of them has.
    """

    rows: np.ndarray
    now: Seen
    renamed: list[int]
    replaced: list[int]
    gone: list[int]


def look(picture: Picture) -> Seen:
    """At one picture.

    Raises:
        UnreadablePicture: with the reason.
    """
    try:
        return Seen.of([picture])
    except (OSError, ValueError) as error:
        raise UnreadablePicture(f"{picture.key}: {error}") from error


def digest(data: bytes) -> str:
    """128 bits of BLAKE2b, hexadecimal."""
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def places(pictures: Iterable[Picture]) -> np.ndarray:
    """``[n, 3]``, see :class:`Seen`.

    Raises:
        OSError: a file is not there.
    """
    found, file, state = [], None, None
    for picture in pictures:
        if state is None or picture.file != file:  # the members of a shard come one after the other
            file, state = picture.file, os.stat(picture.file)
        size = state.st_size if picture.size is None else picture.size
        found.append((size, picture.offset, state.st_mtime_ns))
    return np.array(found, np.int64).reshape(-1, 3)


def compare(
    pictures: Sequence[Picture], keys: Sequence[str], seen: Seen, known: Mapping[str, Sequence] | None = None
) -> Comparison:
    """Find the row of each picture.

    Rows that do not remember their picture are taken to be of the one with their key.

    Args:
        keys, seen: of the rows.
        known: digests of an earlier time by key of the picture, see :func:`.identity.of_pictures`.

    Raises:
        OSError: a picture is not there.
    """
    now = Seen(places(pictures), [""] * len(pictures))
    row_of: dict[str, int] = {}
    for row, key in enumerate(keys):
        row_of.setdefault(key, row)
    rows = np.array([row_of.get(picture.key, -1) for picture in pictures], np.int64)
    by_key = np.flatnonzero(rows >= 0)
    remembered = np.array([bool(text) for text in seen.digests], bool)[rows[by_key]]
    same_place = (seen.places[rows[by_key]] == now.places[by_key]).all(1)
    for number in by_key[~remembered | same_place].tolist():
        now.digests[number] = seen.digests[rows[number]]
    _look(pictures, by_key[remembered & ~same_place].tolist(), now, known or {})
    replaced = [number for number in by_key.tolist() if now.digests[number] != seen.digests[rows[number]]]
    rows[replaced] = -1
    renamed = _find_renamed(pictures, rows, now, seen, known or {})
    used, here = set(rows[rows >= 0].tolist()), {picture.key for picture in pictures}
    gone = [row for row, key in enumerate(keys) if row not in used and key not in here]
    return Comparison(rows, now, renamed, [number for number in replaced if rows[number] < 0], gone)


def _find_renamed(
    pictures: Sequence[Picture], rows: np.ndarray, now: Seen, seen: Seen, known: Mapping[str, Sequence]
) -> list[int]:
    """Give rows without a picture to pictures without a row that have the same bytes."""
    taken = set(rows[rows >= 0].tolist())
    free = {text: row for row, text in enumerate(seen.digests) if text and row not in taken}
    if not free:
        return []
    sizes = {int(seen.places[row, 0]) for row in free.values()}
    waiting = np.flatnonzero(rows < 0).tolist()
    likely = [number for number in waiting if int(now.places[number, 0]) in sizes or _is_parquet(pictures[number].file)]
    _look(pictures, [number for number in likely if not now.digests[number]], now, known)
    found = [number for number in waiting if now.digests[number] in free]
    for number in found:
        rows[number] = free[now.digests[number]]
    return found


def _look(pictures: Sequence[Picture], numbers: list[int], now: Seen, known: Mapping[str, Sequence]) -> None:
    """Fill in the digests of some pictures; empty for those that cannot be read."""

    def of(number: int) -> str:
        before = known.get(pictures[number].key)
        size, offset, time = now.places[number].tolist()
        if before and list(before[1:-1]) == [offset, size, time]:
            return before[-1]
        try:
            return digest(pictures[number].content())
        except (OSError, ValueError):
            return ""

    with ThreadPoolExecutor(THREADS) as pool:
        for start in range(0, len(numbers), AT_ONCE):
            part = numbers[start : start + AT_ONCE]
            for number, text in zip(part, pool.map(of, part), strict=True):
                now.digests[number] = text


def _is_parquet(file: Path) -> bool:
    """Whose rows do not say their size."""
    return file.suffix.lower() == ".parquet"
