"""Sets of pictures: a small one is a list, a large one lies in an index that all processes map.

Whoever needs a column of a set (all keys, which have captions, where they lie) asks the functions here, which take
either, a block at a time. So a set of millions costs a process some tens of bytes per picture, not an object.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from .index import Index
from .picture import Picture

BLOCK = 2**16  # pictures of a block


class Found(list[Picture]):
    """Pictures ordered by key.

    Attributes:
        left_out: what else is there and cannot be used: ``name: reason``.
    """

    def __init__(self, pictures: Sequence[Picture], left_out: list[str]):
        super().__init__(sorted(pictures, key=lambda picture: picture.key))
        self.left_out = left_out


class Indexed(Sequence[Picture]):
    """Pictures of an index, ordered by key; each is made when it is asked for.

    Args:
        index: that holds them.
        numbers: ``[pictures]`` ascending rows of the index; None for all.

    Attributes:
        left_out: see :class:`Found`.
    """

    def __init__(self, index: Index, numbers: np.ndarray | None = None):
        self.index = index
        self.numbers = np.arange(len(index), dtype=np.int32) if numbers is None else numbers.astype(np.int32)
        self.left_out = index.left_out

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, place: int | slice) -> Picture | Indexed:
        if isinstance(place, slice):
            start, stop, step = place.indices(len(self))
            chosen = self.numbers[start:stop:step]
            return Indexed(self.index, chosen) if step > 0 else [self.index.picture(int(row)) for row in chosen]
        return self.index.picture(int(self.numbers[place]))

    def __iter__(self) -> Iterator[Picture]:
        return (self.index.picture(row) for row in self.numbers.tolist())


class Captions(Sequence[str]):
    """Captions of pictures, each read when it is asked for."""

    def __init__(self, pictures: Sequence[Picture]):
        self._pictures = pictures

    def __len__(self) -> int:
        return len(self._pictures)

    def __getitem__(self, place: int | slice) -> str | Captions:
        if isinstance(place, slice):
            return Captions(take(self._pictures, range(*place.indices(len(self)))))
        return self._pictures[place].caption


class Places:
    """Places of an index's pictures, see :func:`places`: each is put together when it is asked for.

    Args:
        index: that holds the pictures.
        numbers: ``[pictures]`` ascending rows of the index.
        states: see :meth:`.index.Index.states`.
    """

    def __init__(self, index: Index, numbers: np.ndarray, states: tuple[np.ndarray, np.ndarray]):
        self._index, self._numbers, self._states = index, numbers, states
        self._loose = numbers[index.shard[numbers] < 0]

    @classmethod
    def of(cls, pictures: Indexed) -> Places:
        """As they are now.

        Raises:
            OSError: a file is not there.
        """
        return cls(pictures.index, pictures.numbers, pictures.index.states(pictures.numbers))

    def __len__(self) -> int:
        return len(self._numbers)

    def __getitem__(self, chosen: int | slice | np.ndarray) -> np.ndarray:
        """``[3]`` of one picture, ``[chosen, 3]`` of several."""
        numbers = np.atleast_1d(self._numbers[chosen])
        shards, files = self._states
        shard, found = self._index.shard[numbers], np.empty((len(numbers), 3), np.int64)
        found[:, 0], found[:, 1], found[:, 2] = self._index.size[numbers], self._index.offset[numbers], shards[shard, 1]
        is_loose, is_row = shard < 0, (found[:, 0] < 0) & (shard >= 0)
        found[is_row, 0] = shards[shard[is_row], 0]
        found[is_loose, ::2] = files[np.searchsorted(self._loose, numbers[is_loose])]
        return found if np.ndim(self._numbers[chosen]) else found[0]

    def take(self, chosen: np.ndarray) -> Places:
        """Those of some pictures, whose numbers ascend."""
        numbers = self._numbers[chosen]
        shards, files = self._states
        is_loose = self._index.shard[numbers] < 0
        return Places(self._index, numbers, (shards, files[np.searchsorted(self._loose, numbers[is_loose])]))


def take(pictures: Sequence[Picture], numbers: Sequence[int] | np.ndarray) -> Sequence[Picture]:
    """Those of some numbers, which ascend."""
    if isinstance(pictures, Indexed):
        return Indexed(pictures.index, pictures.numbers[np.asarray(numbers, np.int64)])
    return [pictures[int(number)] for number in numbers]


def keys(pictures: Sequence[Picture]) -> Iterator[list[str]]:
    """Keys, a block at a time."""
    return _column(pictures, "key")


def captions(pictures: Sequence[Picture]) -> Iterator[list[str | None]]:
    """Captions, a block at a time; None without one."""
    return _column(pictures, "caption")


def are_captioned(pictures: Sequence[Picture]) -> np.ndarray:
    """``[pictures]`` whether each has a caption."""
    if isinstance(pictures, Indexed):
        return pictures.index.captioned[pictures.numbers]
    return np.array([picture.caption is not None for picture in pictures], bool)


def in_shards(pictures: Sequence[Picture]) -> np.ndarray:
    """``[pictures]`` number of the shard in which each lies, which begin anywhere; -1 for a file of its own."""
    if isinstance(pictures, Indexed):
        return pictures.index.shard[pictures.numbers]
    known: dict[os.PathLike, int] = {}
    return np.array([known.setdefault(picture.file, len(known)) if picture.in_shard else -1 for picture in pictures],
                    np.int32)  # fmt: skip


def shard_states(pictures: Sequence[Picture]) -> dict[Path, tuple[int, int]]:
    """Bytes of the shards in which pictures lie, and the times of their last change in nanoseconds.

    Raises:
        OSError: one is not there.
    """
    if isinstance(pictures, Indexed):
        index = pictures.index
        return {index.root / shard.name: (shard.size, shard.time) for shard in index.shards}
    states = {file: os.stat(file) for file in {picture.file for picture in pictures if picture.in_shard}}
    return {file: (state.st_size, state.st_mtime_ns) for file, state in states.items()}


def places(pictures: Sequence[Picture]) -> np.ndarray:
    """``[pictures, 3]`` int64: bytes of the picture (of a Parquet file in which it is a row), offset in its file (in
    Parquet the row), and time of the file's last change in nanoseconds. A shard is asked for its time once.

    Raises:
        OSError: a file is not there.
    """
    if isinstance(pictures, Indexed):
        return Places.of(pictures)[:]
    found, file, state = [], None, None
    for picture in pictures:
        if state is None or picture.file != file:  # the members of a shard come one after the other
            file, state = picture.file, os.stat(picture.file)
        size = state.st_size if picture.size is None else picture.size
        found.append((size, picture.offset, state.st_mtime_ns))
    return np.array(found, np.int64).reshape(-1, 3)


def _column(pictures: Sequence[Picture], name: str) -> Iterator[list]:
    if isinstance(pictures, Indexed):
        return pictures.index.column(name, pictures.numbers, BLOCK)
    starts = range(0, len(pictures), BLOCK)
    return ([getattr(picture, name) for picture in pictures[start : start + BLOCK]] for start in starts)
