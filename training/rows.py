"""Rows of a table, in shards: ``000000.parquet`` and so on, for activations with ``000000.safetensors`` beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..files import WrongFile, read_tensors, shown, write_tensors, written_whole
from ..optional import needed
from .columns import read_columns
from .contents import Contents
from .pictures_seen import SEEN, Seen
from .stored import StoredKeys, StoredSeen, keys_in, seen_in

COLUMNS = ("key", "width", "height", *SEEN)  # beside those of metrics
OTHERS = {"key": str}  # that must be there, though they are read later
LARGE = 100_000  # rows
MERGED = 100  # shards that become one, where there are more


@dataclass(frozen=True)
class Rows:
    """Rows of a table.

    Attributes:
        keys: of the pictures.
        sizes: ``[rows, 2]`` width and height in pixels, int32.
        values: ``[rows, m]`` raw scores (float32) or activations (float16).
        seen: the pictures; empty where they are not known.
    """

    keys: Sequence[str]
    sizes: Tensor
    values: Tensor
    seen: Seen | StoredSeen = field(default_factory=lambda: Seen.unknown(0))

    def __len__(self) -> int:
        return len(self.sizes)

    def write(self, folder: Path, number: int, contents: Contents) -> None:
        """Add a shard; it is there when it is complete."""
        with needed("pyarrow"):
            import pyarrow
            import pyarrow.parquet as parquet
        columns = {"key": self.keys, "width": self.sizes[:, 0].numpy(), "height": self.sizes[:, 1].numpy()}
        path = folder / f"{number:06d}.parquet"
        if contents.kind == "reference":
            write_tensors(path.with_suffix(".safetensors"), {"features": self.values.half()})
        else:
            columns |= {name: column.numpy() for name, column in zip(contents.models, self.values.T, strict=True)}
        columns |= self.seen.columns() if len(self.seen) else {}
        with written_whole(path) as temporary:
            parquet.write_table(pyarrow.table(columns), temporary)

    @classmethod
    def read(cls, path: Path, contents: Contents, mapped: bool = True) -> Rows:
        """Inverse of :meth:`write`.

        Args:
            mapped: leave activations in the file; else copy them, so that it can be removed.

        Raises:
            FileNotFoundError: of activations, the file beside it.
            WrongFile: one is damaged, or not of such a table.
        """
        sizes, values = read_numbers(path, contents, mapped)
        (keys,) = read_columns(path, {"key": str})
        return cls(keys.tolist(), sizes, values, seen_in(path, len(keys)))

    @classmethod
    def read_all(cls, folder: Path, contents: Contents) -> Rows | None:
        """All rows of a table; of a large one, keys and ``seen`` stay in the files until they are asked for.

        Returns:
            None for a table without any.

        Raises:
            FileNotFoundError, WrongFile: see :meth:`read`.
        """
        paths = shards(folder)
        if not paths:
            return None
        sizes, values = zip(*(read_numbers(path, contents) for path in paths), strict=True)
        counts = [len(part) for part in sizes]
        keys, seen = StoredKeys(paths, counts), StoredSeen(paths, counts)
        if len(keys) < LARGE:
            keys, seen = list(keys), seen.read()
        return cls(keys, torch.cat(sizes), torch.cat(values), seen)


def of_rows(column: Tensor, rows: np.ndarray) -> Tensor:
    """A column of a table, some rows of it in some order: itself where they are all of them in order."""
    is_whole = len(rows) == len(column) and np.array_equal(rows, np.arange(len(rows), dtype=rows.dtype))
    return column if is_whole else column[rows]


def read_numbers(path: Path, contents: Contents, mapped: bool = True) -> tuple[Tensor, Tensor]:
    """``sizes`` and ``values`` of a shard, see :class:`Rows`."""
    metrics = dict.fromkeys(contents.models, float) if contents.kind == "score" else {}
    width, height, *scores = read_columns(path, {"width": int, "height": int, **metrics}, there=OTHERS)
    sizes = torch.from_numpy(np.stack([width, height], 1).astype(np.int32))
    if contents.kind == "score":
        return sizes, torch.from_numpy(np.stack(scores, 1).astype(np.float32))
    content, _ = read_tensors(path.with_suffix(".safetensors"), mapped)
    values = content.get("features") if isinstance(content, dict) else None
    fits = isinstance(values, Tensor) and values.ndim == 2 and len(values) == len(sizes) and values.numel()
    if not fits or not values.is_floating_point() or values.dtype.itemsize < 2:  # nothing computes with bytes
        raise WrongFile(f"{shown(path)} has no activations beside it, or not as many. Score these pictures again.")
    return sizes, values


def shards(folder: Path) -> list[Path]:
    """Complete shards of a table, in order."""
    return sorted(folder.glob("[0-9]*.parquet"))


def merge(folder: Path, contents: Contents) -> None:
    """Put many small shards of a table together, in order, so that millions of rows are some tens of files.

    A process that is killed meanwhile leaves rows double at most, which are found when scoring goes on.
    """
    paths = shards(folder)
    if len(paths) <= MERGED:
        return
    for start in range(0, len(paths), MERGED):
        parts = [Rows.read(path, contents) for path in paths[start : start + MERGED]]
        seen = [part.seen if len(part.seen) else Seen.unknown(len(part)) for part in parts]
        keys = [key for part in parts for key in part.keys]
        sizes, values = (torch.cat([getattr(part, name) for part in parts]) for name in ("sizes", "values"))
        Rows(keys, sizes, values, Seen.joined(seen)).write(folder, next_number(folder), contents)
        del parts  # of activations that are mapped
        for path in paths[start : start + MERGED]:
            remove(path)


def next_number(folder: Path) -> int:
    """Of the shard that is to follow those that are there."""
    return max((int(path.stem) + 1 for path in shards(folder)), default=0)


def remove(shard: Path) -> None:
    """Rows first, for activations without rows do not count."""
    shard.unlink()
    shard.with_suffix(".safetensors").unlink(missing_ok=True)


def keys(folder: Path) -> set[str]:
    """Of the pictures that were scored."""
    return {key for path in shards(folder) for key in keys_in(path)}


def unanswered(folder: Path) -> list[str]:
    """A line for each picture that has a row, but not a number of every model."""
    contents, lines = Contents.read(folder), []
    for path in shards(folder):
        rows = Rows.read(path, contents)
        answered = rows.values.isfinite()
        if contents.kind == "reference":
            answered = answered.all(1, keepdim=True)
        for key, there in zip(rows.keys, answered.tolist(), strict=True):
            without = [name for name, number in zip(contents.models, there, strict=True) if not number]
            if without:
                lines.append(f"{key}: {' and '.join(without)} has no answer for it (NaN)")
    return lines
