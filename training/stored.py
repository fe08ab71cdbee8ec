"""Columns of a table that stay on the disk until they are asked for: what only the main process looks at, once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from .columns import read_columns
from .digests import Digests
from .pictures_seen import SEEN, Seen


class StoredKeys(Sequence[str]):
    """Keys of all rows of a table.

    Args:
        paths: its shards.
        counts: rows of each.
    """

    def __init__(self, paths: Sequence[Path], counts: Sequence[int]):
        self._paths, self._ends = list(paths), np.cumsum(counts, dtype=np.int64)

    def __len__(self) -> int:
        return int(self._ends[-1]) if len(self._ends) else 0

    def __getitem__(self, number: int) -> str:
        number = range(len(self))[number]  # negative ones count from the end
        part = int(np.searchsorted(self._ends, number, side="right"))
        return keys_in(self._paths[part])[number - int(self._ends[part])]

    def __iter__(self) -> Iterator[str]:
        return (key for part in self.blocks() for key in part)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    __hash__ = None

    def blocks(self) -> Iterator[list[str]]:
        """Those of a shard at a time.

        Raises:
            WrongFile: one is damaged.
        """
        return map(keys_in, self._paths)


class StoredSeen:
    """What all rows of a table remember of their pictures, see :class:`.pictures_seen.Seen`."""

    def __init__(self, paths: Sequence[Path], counts: Sequence[int]):
        self._paths, self._counts = list(paths), list(counts)

    def __len__(self) -> int:
        return sum(self._counts)

    @property
    def places(self) -> np.ndarray:
        return self.read().places

    @property
    def digests(self) -> Digests:
        return self.read().digests

    def blocks(self) -> Iterator[Seen]:
        """Those of a shard at a time.

        Raises:
            WrongFile: one is damaged.
        """
        return map(seen_in, self._paths, self._counts)

    def read(self) -> Seen:
        """All of them.

        Raises:
            WrongFile: a shard is damaged.
        """
        places, digests = np.empty((len(self), 3), np.int64), Digests.unknown(len(self))
        start = 0
        for known in self.blocks():
            part, start = slice(start, start + len(known)), start + len(known)
            places[part], digests.values[part] = known.places, known.digests.values
        return Seen(places, digests)


def seen_in(path: Path, count: int) -> Seen:
    """What the rows of a shard remember; nothing in a table of version 0.1.0."""
    found = read_columns(path, {}, SEEN)
    return Seen.of_columns(*found) if found else Seen.unknown(count)


def keys_in(path: Path) -> list[str]:
    """Keys of a shard."""
    return read_columns(path, {"key": str})[0].tolist()
