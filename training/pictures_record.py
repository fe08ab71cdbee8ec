"""``pictures.parquet`` of a run: which pictures and captions it learns from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path

import numpy as np

from ..files import parse_json, shown, written_whole
from ..optional import needed
from ..pictures.found import captions, keys
from ..pictures.reading import Picture
from .columns import read_blocks
from .digests import Digests
from .pictures_seen import AT_ONCE, SEEN, THREADS, Seen, digest, first_places, hashes

PICTURES, FORMER = "pictures.parquet", "pictures.json"  # the latter was written by earlier versions
LARGEST = 2**32  # bytes of the latter; a picture takes about 200
BLOCK = 2**16  # rows that are written at once


_Entry = tuple[str, int, int, int, str]  # of pictures.json: caption, offset, bytes, time, content


class PicturesRecord(Mapping[str, list]):
    """Pictures with digests of caption and content.

    As a mapping: key -> digest of the caption, offset, bytes, time of the file, digest of the content.

    Args:
        pictures: have the keys: a set of pictures, keys themselves, or the file of a record.
        captions: digests of their captions.
        seen: the pictures; all digests are known.
    """

    def __init__(self, pictures: Sequence[Picture] | Sequence[str] | Path, captions: Digests, seen: Seen):
        self._pictures, self.captions, self.seen = pictures, captions, seen

    @classmethod
    def of(cls, pictures: Sequence[Picture], seen: Seen) -> PicturesRecord:
        """Of pictures as they are now; those are read whose digest is not known.

        Raises:
            OSError: one cannot be read.
        """
        texts = [Digests.of([digest(caption.encode()) for caption in part]) for part in captions(pictures)]
        contents = Digests(seen.digests.values.copy())
        missing = np.flatnonzero(~contents.known).tolist()
        with ThreadPoolExecutor(THREADS) as pool:
            for start in range(0, len(missing), AT_ONCE):
                part = missing[start : start + AT_ONCE]
                found = pool.map(lambda number: digest(pictures[number].content()), part)
                for number, text in zip(part, found, strict=True):
                    contents[number] = text
        return cls(pictures, Digests.joined(texts), Seen(seen.places, contents))

    def __len__(self) -> int:
        return len(self.captions)

    def __iter__(self) -> Iterator[str]:
        return (key for part in self._keys() for key in part)

    def __getitem__(self, key: str) -> list:
        place = np.searchsorted(self._hashes[self._order], hash(key))
        if place == len(self) or self._hashes[number := int(self._order[place])] != hash(key):
            raise KeyError(key)
        size, offset, time = self.seen.places[number].tolist()
        return [self.captions[number], offset, size, time, self.seen.digests[number]]

    def different(self, before: PicturesRecord) -> list[str]:
        """How many pictures are gone, new, changed, or have other captions, with the first of each."""
        there = first_places(self._hashes, before._hashes)
        both = np.flatnonzero(there >= 0)
        was = there[both]
        is_changed = (self.seen.digests.values[both] != before.seen.digests.values[was]).any(1)
        is_other = (self.captions.values[both] != before.captions.values[was]).any(1)
        groups = {
            "gone": (before, np.flatnonzero(first_places(before._hashes, self._hashes) < 0)),
            "new": (self, np.flatnonzero(there < 0)),
            "changed": (self, both[is_changed]),
            "with another caption": (self, both[is_other]),
        }
        return [f"pictures {what}: {len(numbers)}, the first is {shown(record._first(numbers))}"
                for what, (record, numbers) in groups.items() if len(numbers)]  # fmt: skip

    def write(self, folder: Path) -> None:
        """Into a run's folder."""
        with needed("pyarrow"):
            import pyarrow
            import pyarrow.parquet as parquet
        text, number = pyarrow.large_string(), pyarrow.int64()
        kinds = {"key": text, "caption": text, **{name: number if kind is int else text for name, kind in SEEN.items()}}
        schema, start = pyarrow.schema(kinds.items()), 0
        with written_whole(folder / PICTURES) as temporary, parquet.ParquetWriter(temporary, schema) as file:
            for part in self._keys():
                chosen = np.arange(start, start + len(part))
                columns = {"key": part, "caption": list(self.captions.take(chosen)), **self.seen.take(chosen).columns()}
                file.write_table(pyarrow.table(columns, schema))
                start += len(part)

    @classmethod
    def read(cls, folder: Path) -> PicturesRecord:
        """Of the run in a folder; empty where there is none.

        Raises:
            ValueError: it is damaged.
        """
        path = folder / (PICTURES if (folder / PICTURES).is_file() else FORMER)
        try:
            if not path.is_file():
                return cls([], Digests.unknown(0), Seen.unknown(0))
            if path.name == FORMER:
                return cls._of_mapping(parse_json(path.read_bytes(), dict[str, _Entry], path, most=LARGEST))
            return cls._of_file(path)
        except (ValueError, ArithmeticError, LookupError, TypeError) as error:
            raise ValueError(f"{shown(path)} is damaged; delete it and run.json to go on without comparing.") from error

    @classmethod
    def _of_file(cls, path: Path) -> PicturesRecord:
        parts = read_blocks(path, {"caption": str, **SEEN}, BLOCK)
        texts, *seen = zip(*parts, strict=True)
        return cls(path, Digests.joined([Digests.of(part.tolist()) for part in texts]),
                   Seen.joined([Seen.of_columns(*part) for part in zip(*seen, strict=True)]))  # fmt: skip

    @classmethod
    def _of_mapping(cls, entries: Mapping[str, Sequence]) -> PicturesRecord:
        """Of ``pictures.json``."""
        texts, offsets, sizes, times, contents = zip(*entries.values(), strict=True) if entries else ([],) * 5
        places = np.array([sizes, offsets, times], np.int64).T.reshape(-1, 3)
        return cls(list(entries), Digests.of(texts), Seen(places, Digests.of(contents)))

    @cached_property
    def _hashes(self) -> np.ndarray:
        return hashes(self._keys())

    @cached_property
    def _order(self) -> np.ndarray:
        return np.argsort(self._hashes, kind="stable")

    def _keys(self) -> Iterator[list[str]]:
        if isinstance(self._pictures, Path):
            return (part.tolist() for (part,) in read_blocks(self._pictures, {"key": str}, BLOCK))
        if len(self) and isinstance(self._pictures[0], str):
            return iter([self._pictures])
        return keys(self._pictures)

    def _first(self, numbers: np.ndarray) -> str:
        """The first key of some pictures."""
        chosen, start, least = set(numbers.tolist()), 0, []
        for part in self._keys():
            least += [min((key for place, key in enumerate(part, start) if place in chosen), default=None)]
            start += len(part)
        return min(key for key in least if key is not None)
