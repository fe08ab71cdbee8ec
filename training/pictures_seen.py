"""What a row of a table remembers of its picture, and which pictures of a set are those that rows were made of.

A picture is the same while its place is: its size, its offset in a shard, and the time when its file was last written.
Where one of them has changed, as after copying a set, the digest of its bytes decides. So a set that nobody touched
costs one ``stat`` per file, and what was touched is read once, at about the speed of the disk.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from ..pictures.found import Indexed, Places, places
from ..pictures.found import keys as keys_of
from ..pictures.reading import Picture, UnreadablePicture
from .digests import Digests

THREADS = 8  # reading and hashing let other threads run
AT_ONCE = 10_000  # pictures that wait for a thread
Column = TypeVar("Column")
SEEN = {"bytes": int, "offset": int, "time": int, "digest": str}  # columns of a table


@dataclass(frozen=True)
class Seen:
    """Pictures as they were.

    Attributes:
        places: ``[n, 3]`` int64, see :func:`..pictures.found.places`; of an index put together when asked for.
        digests: of their bytes, see :func:`digest`; empty for those that a version without these columns scored.
    """

    places: np.ndarray | Places
    digests: Digests

    @classmethod
    def of(cls, pictures: Sequence[Picture]) -> Seen:
        """As they are now; every one is read.

        Raises:
            OSError: one cannot be read.
            ValueError: a row of Parquet holds none.
        """
        where = places(pictures)  # first: what is replaced meanwhile is noticed the next time
        return cls(where, Digests.of([digest(picture.content()) for picture in pictures]))

    @classmethod
    def unknown(cls, count: int) -> Seen:
        return cls(np.zeros((count, 3), np.int64), Digests.unknown(count))

    @classmethod
    def joined(cls, parts: Sequence[Seen]) -> Seen:
        where = np.concatenate([part.places for part in parts]) if parts else np.zeros((0, 3), np.int64)
        return cls(where, Digests.joined([part.digests for part in parts]))

    def __len__(self) -> int:
        return len(self.digests)

    def read(self) -> Seen:
        """Itself, which is in memory."""
        return self

    def take(self, numbers: np.ndarray) -> Seen:
        """Some of them."""
        return Seen(self.places[numbers], self.digests.take(numbers))

    def keep(self, numbers: np.ndarray) -> Seen:
        """Some of them, whose numbers ascend, in the memory of all of them, which are lost."""
        is_array = isinstance(self.places, np.ndarray)
        for array in (self.digests.values, *([self.places] if is_array else [])):
            for start in range(0, len(numbers), AT_ONCE):
                part = numbers[start : start + AT_ONCE]
                array[start : start + len(part)] = array[part]
        where = self.places[: len(numbers)] if is_array else self.places.take(numbers)
        return Seen(where, Digests(self.digests.values[: len(numbers)]))

    def columns(self) -> dict[str, object]:
        """By name, see ``SEEN``."""
        return dict(zip(SEEN, [*self.places.T, list(self.digests)], strict=True))

    @classmethod
    def of_columns(cls, size: np.ndarray, offset: np.ndarray, time: np.ndarray, digests: np.ndarray) -> Seen:
        """Inverse of :meth:`columns`."""
        return cls(np.stack([size, offset, time], 1).astype(np.int64), Digests.of(digests.tolist()))


@dataclass(frozen=True)
class Comparison:
    """A set of pictures beside the rows of a table.

    Attributes:
        rows: ``[pictures]`` number of the row that was made of each picture; -1 without one.
        of_key: ``[pictures]`` number of the row with the picture's key, whatever it was made of; -1 without one.
        now: the pictures; a digest is empty where it was not needed, or the picture cannot be read.
        renamed: numbers of the pictures whose row has another key.
        replaced: numbers of the pictures whose key has a row of another picture.
        gone: numbers of the rows that are of none of the pictures, and whose key none of them has.
        has_unknown: whether a row does not remember its picture.
    """

    rows: np.ndarray
    of_key: np.ndarray
    now: Seen
    renamed: list[int]
    replaced: list[int]
    gone: list[int]
    has_unknown: bool


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


def compare(
    pictures: Sequence[Picture], keys: Sequence[str], seen: Seen, known: Mapping[str, Sequence] | None = None
) -> Comparison:
    """Find the row of each picture.

    Rows that do not remember their picture are taken to be of the one with their key. What rows remember is looked at
    a block at a time, in which it is stored.

    Args:
        keys, seen: of the rows; in memory, or stored, see :mod:`.stored`.
        known: digests of an earlier time by key of the picture, see :class:`.pictures_record.PicturesRecord`.

    Raises:
        OSError: a picture is not there.
    """
    there = hashes(blocks(keys))
    of_key = first_places(hashes(keys_of(pictures)), there)
    where = Places.of(pictures) if isinstance(pictures, Indexed) else places(pictures)
    now = Seen(where, Digests.unknown(len(pictures)))
    rows, free, replaced = of_key.copy(), _Free(), []
    start, has_unknown, is_used = 0, False, np.zeros(len(there), bool)
    for part in blocks(seen):
        end = start + len(part)
        numbers = np.flatnonzero((of_key >= start) & (of_key < end)).astype(np.int32)
        is_other = _are_others(pictures, numbers, part, of_key[numbers] - start, now, known or {})
        rows[numbers[is_other]] = -1
        replaced += numbers[is_other].tolist()
        is_used[of_key[numbers[~is_other]]] = True
        free.add(start, part, ~is_used[start:end])
        has_unknown |= not part.digests.known.all()
        start = end
    renamed = _find_renamed(pictures, rows, now, free, known or {})
    is_used[rows[renamed]] = True
    gone = np.flatnonzero(~is_used)
    gone = gone[first_places(there[gone], hashes(keys_of(pictures))) < 0] if len(gone) else gone
    replaced = sorted(number for number in replaced if rows[number] < 0)
    return Comparison(rows, of_key, now, renamed, replaced, gone.tolist(), has_unknown)


class _Free:
    """Rows that have no picture.

    Attributes:
        rows: their numbers by digest.
        sizes: bytes of their pictures.
    """

    def __init__(self):
        self.rows: dict[str, int] = {}
        self.sizes: set[int] = set()

    def add(self, start: int, part: Seen, is_free: np.ndarray) -> None:
        """Those of a block that begins at ``start``."""
        for row in np.flatnonzero(is_free & part.digests.known).tolist():
            self.rows[part.digests[row]] = start + row
            self.sizes.add(int(part.places[row, 0]))


def _are_others(
    pictures: Sequence[Picture], numbers: np.ndarray, then: Seen, rows: np.ndarray, now: Seen, known: Mapping
) -> np.ndarray:
    """Whether pictures are others than rows remember; fills in their digests.

    Args:
        numbers, rows: of the pictures, and of each its row in ``then``.
    """
    is_trusted = (then.places[rows] == now.places[numbers]).all(1) | ~then.digests.known[rows]
    trusted = numbers[is_trusted]
    now.digests.values[trusted] = then.digests.values[rows[is_trusted]]
    _look(pictures, numbers[~is_trusted].tolist(), now, known)
    return (now.digests.values[numbers] != then.digests.values[rows]).any(1)


def blocks(column: Column) -> Iterator[Column]:
    """A column of a table, or the parts in which it is stored."""
    return column.blocks() if hasattr(column, "blocks") else iter([column])


def hashes(parts: Iterable[Sequence[str]]) -> np.ndarray:
    """``[texts]`` int64 by which this process knows texts: two of ten million share one once in 400,000 times."""
    found = [np.fromiter(map(hash, part), np.int64, len(part)) for part in parts]
    return np.concatenate(found) if found else np.zeros(0, np.int64)


def first_places(wanted: np.ndarray, known: np.ndarray) -> np.ndarray:
    """``[wanted]`` int32 place of the first equal number in ``known``; -1 without one."""
    if not len(known):
        return np.full(len(wanted), -1, np.int32)
    order, found = np.argsort(known, kind="stable").astype(np.int32), np.empty(len(wanted), np.int32)
    ordered = known[order]
    for start in range(0, len(wanted), AT_ONCE):
        part = wanted[start : start + AT_ONCE]
        place = order[np.searchsorted(ordered, part).clip(max=len(known) - 1)]
        found[start : start + AT_ONCE] = np.where(known[place] == part, place, -1)
    return found


def _find_renamed(
    pictures: Sequence[Picture], rows: np.ndarray, now: Seen, free: _Free, known: Mapping[str, Sequence]
) -> list[int]:
    """Give rows without a picture to pictures without a row that have the same bytes."""
    if not free.rows:
        return []
    missing = np.flatnonzero(rows < 0)
    waiting, sizes = missing.tolist(), now.places[missing][:, 0].tolist()
    likely = [number for number, size in zip(waiting, sizes, strict=True)
              if size in free.sizes or _is_parquet(pictures[number].file)]  # fmt: skip
    _look(pictures, [number for number in likely if not now.digests[number]], now, known)
    found = [number for number in waiting if now.digests[number] in free.rows]
    for number in found:
        rows[number] = free.rows[now.digests[number]]
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
