"""The index of a set of pictures: one Parquet file that is written once and mapped by every process.

A row is a picture: ``key``, ``caption``, ``shard`` (number of its file; -1 for a file of its own, whose path is the
key), ``offset``, ``size`` (-1 for the whole file, or a row of Parquet) and ``uncaptioned``, in the order of the keys.
The file's metadata lists the shards with their bytes and times, so that what has changed is found without opening any.

Numbers are held in memory, 21 bytes a picture. Texts stay in the file: those of 1,024 rows at a time are read when one
of them is asked for, in 0.2 ms.

A set of a stranger may bring an index. So it counts only while the shards that it lists are those that are there, and
what it says of them is compared with their bytes; one that is no index is as none.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
import threading
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..files import WrongFile, parse_json, shown, written_whole
from ..optional import needed
from ..printable import NOT_IN_NAMES
from .index_layout import (
    DESCRIBED,
    GROUP,
    MARK,
    NUMBERS,
    TEXTS,
    VERSION,
    Known,
    Shard,
    check_layout,
    check_places,
)
from .picture import Picture
from .unfolding import ROOM, check_rows, unfold_texts

NAME, HIDDEN = ".iqa_index.parquet", ".{}.iqa_index.parquet"  # in the set's folder; beside a shard that is the set
KEPT = 8  # row groups whose texts are kept


class Rows(NamedTuple):
    """Pictures of a shard, or loose ones: columns of the index."""

    key: list[str]
    caption: list[str | None]
    offset: list[int]
    size: list[int]
    uncaptioned: list[str]


class Index:
    """An index that was written.

    Args:
        path: of its file.
        root: folder of the set.

    Attributes:
        shards: files with pictures in them.
        problems: what of each shard cannot be used, and last what else.
        shard, offset, size: ``[pictures]``.
        captioned: ``[pictures]`` whether there is a caption.

    Raises:
        ValueError: the file is no such index, or of another version.
    """

    def __init__(self, path: Path, root: Path):
        self.path, self.root = Path(path), Path(root)
        with needed("pyarrow"):
            import pyarrow
            import pyarrow.parquet as parquet
        try:
            self._file = parquet.ParquetFile(self.path, memory_map=True, read_dictionary=list(TEXTS))
            check_layout(self.path, self._file)
            known = parse_json((self._file.schema_arrow.metadata or {})[MARK], Known, self.path, DESCRIBED)
            self.shards, self.problems = known["shards"], known["problems"]
            if len(self.problems) != len(self.shards) + 1:
                raise ValueError("it does not say what is wrong with each shard")
            self._read_numbers()
        except (OSError, pyarrow.ArrowException, ValueError, LookupError) as error:
            raise ValueError(f"{shown(self.path)} is no index of pictures that can be read ({shown(error)})") from error
        self._reading = threading.Lock()
        self._texts = lru_cache(KEPT)(self._read_texts)

    def __reduce__(self):
        return Index, (self.path, self.root)  # a process that is sent one maps the file

    def __len__(self) -> int:
        return len(self.shard)

    @property
    def left_out(self) -> list[str]:
        """See :class:`.found.Found`."""
        return [line for lines in (self.problems[-1], *self.problems[:-1]) for line in lines]

    def is_damaged(self, shard: int) -> bool:
        """Whether nothing of a shard could be used, and why is known."""
        return bool(self.problems[shard]) and not (self.shard == shard).any()

    def picture(self, row: int) -> Picture:
        """One of its pictures."""
        group, place = divmod(row, GROUP)
        with self._reading:  # threads read ahead
            key, caption, uncaptioned = (column[place] for column in self._texts(group))
        shard, size = int(self.shard[row]), int(self.size[row])
        file = self.root / (key if shard < 0 else self.shards[shard].name)
        return Picture(key, caption, file, int(self.offset[row]), size if size >= 0 else None, uncaptioned)

    def column(self, name: str, numbers: np.ndarray, block: int) -> Iterator[list]:
        """A column of texts of ascending rows, of at most ``block`` rows of the file at a time."""
        groups = np.unique(numbers // GROUP)
        rows = (groups[:, None] * GROUP + np.arange(GROUP, dtype=np.int32)).reshape(-1)
        is_wanted = np.zeros(len(rows), bool)
        is_wanted[np.searchsorted(rows, numbers)] = True
        start = 0
        for batch in self._batches([name], block, groups.tolist()):
            part = is_wanted[start : start + len(batch)]
            start += len(batch)
            with self._checked():
                column = self._plain(name, batch)
                texts = (column if part.all() else column.filter(_arrow(part))).to_pylist()
            yield texts
        if start != (rows := sum(self._file.metadata.row_group(group).num_rows for group in groups.tolist())):
            raise WrongFile(
                f"{shown(self.path)} has {start:,} rows where it says {rows:,}. Delete it: it is made again."
            )

    def states(self, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Bytes and times of files as they are now: of all shards ``[shards + 1, 2]``, with zeros at the end, and of
        those of some ascending rows that are files of their own.

        Raises:
            OSError: one is not there.
        """
        loose = numbers[self.shard[numbers] < 0]
        names = (key for part in self.column("key", loose, GROUP) for key in part)
        shards, files = (
            [(state.st_size, state.st_mtime_ns) for state in map(os.stat, map(self.root.joinpath, some))]
            for some in ([shard.name for shard in self.shards], names)
        )
        return np.array([*shards, (0, 0)], np.int64), np.array(files, np.int64).reshape(-1, 2)

    def rows_of(self, shard: int) -> Rows:
        """What it says of one of its shards."""
        numbers = np.flatnonzero(self.shard == shard)
        texts = {name: [text for part in self.column(name, numbers, GROUP) for text in part] for name in TEXTS}
        texts["uncaptioned"] = [text or "" for text in texts["uncaptioned"]]
        return Rows(offset=self.offset[numbers].tolist(), size=self.size[numbers].tolist(), **texts)

    def _batches(self, names: Sequence[str], block: int, groups: list[int] | None = None) -> Iterator:
        import pyarrow.parquet as parquet

        # the one that threads share has a place of its own; what it knows of the file is read once
        options = {"memory_map": True, "read_dictionary": list(TEXTS), "metadata": self._file.metadata}
        chosen = range(self._file.num_row_groups) if groups is None else groups
        at_once = max(1, block // GROUP)  # a reader keeps the dictionaries of all groups that it is given
        with self._checked(), parquet.ParquetFile(self.path, **options) as file:
            for start in range(0, len(chosen), at_once):
                some = list(chosen[start : start + at_once])
                yield from file.iter_batches(block, some, columns=list(names), use_threads=False)

    def _plain(self, name: str, table) -> Sequence:
        """Texts of a table or a batch; a key is always there."""
        import pyarrow

        column = table[name]
        column = column if isinstance(column, pyarrow.ChunkedArray) else pyarrow.chunked_array([column])
        if name == "key" and column.null_count:
            raise WrongFile(f"{shown(self.path)} has pictures without keys. Delete it: it is made again.")
        if name == "key" and any(map(_cannot_be_shown, column.chunks)):
            raise WrongFile(
                f"{shown(self.path)} has names with control characters, or that turn the direction of writing. Delete "
                "it: it is made again."
            )
        return unfold_texts(column, self.path, 2 * self.path.stat().st_size + ROOM)

    @contextlib.contextmanager
    def _checked(self) -> Iterator[None]:
        """Raises:
            WrongFile: texts cannot be read.
        """  # fmt: skip
        import pyarrow

        try:
            yield
        except (OSError, pyarrow.ArrowException, UnicodeDecodeError) as error:
            raise WrongFile(f"{shown(self.path)} is damaged ({shown(error)}). Delete it: it is made again.") from error

    def _read_numbers(self) -> None:
        count, start = self._file.metadata.num_rows, 0
        arrays = {name: np.empty(count, kind) for name, kind in NUMBERS.items()}
        self.captioned = np.empty(count, bool)
        ends = np.array([*(shard.size for shard in self.shards), 0])  # the last one is that of -1
        for batch in self._batches([*NUMBERS, "captioned"], 2**16):
            part = slice(start, start + len(batch))
            for name, array in arrays.items():
                array[part] = batch.column(name).to_numpy()
            self.captioned[part] = batch.column("captioned").to_numpy(zero_copy_only=False)
            check_places(*(array[part] for array in arrays.values()), ends)
            start += len(batch)
        if start != count:  # what is left would be of other memory
            raise ValueError(f"it has {start:,} rows, and says {count:,}")
        self.shard, self.offset, self.size = arrays.values()

    def _read_texts(self, group: int) -> list[list]:
        with self._checked():
            table = self._file.read_row_group(group, columns=list(TEXTS), use_threads=False)
            for name in TEXTS:
                check_rows(table[name], self._file.metadata, [group])
            keys, captions, reasons = (self._plain(name, table).to_pylist() for name in TEXTS)
        return [keys, captions, [reason or "" for reason in reasons]]


def write(
    path: Path, shards: Sequence[Shard], parts: Sequence[Rows], loose: Rows, problems: Sequence[list[str]]
) -> None:
    """Write an index.

    Args:
        parts: pictures of each shard.
        loose: pictures that are files of their own.
        problems: what cannot be used of each shard, and last what else.

    Raises:
        OSError: it cannot be written there.
    """
    with needed("pyarrow"):
        import pyarrow
        import pyarrow.compute as compute
        import pyarrow.parquet as parquet
    tables = [_table(rows, number) for number, rows in enumerate(parts) if rows.key]
    table = pyarrow.concat_tables([*tables, _table(loose, -1)])
    table = table.take(compute.sort_indices(table["key"]))  # by UTF-8 bytes, which is Python's order, too
    known = {"version": VERSION, "shards": shards, "problems": problems}
    table = table.replace_schema_metadata({MARK: json.dumps(known)})
    with written_whole(path) as temporary:
        parquet.write_table(table, temporary, GROUP, compression="zstd", use_dictionary=False, write_statistics=False)


def candidates(source: Path) -> list[Path]:
    """Where the index of a set may lie: with the set, or on this machine where that cannot be written to."""
    beside = source / NAME if source.is_dir() else source.with_name(HIDDEN.format(source.name))
    digest = hashlib.blake2b(os.fsencode(source.resolve()), digest_size=16).hexdigest()
    user = os.getuid() if hasattr(os, "getuid") else 0
    return [beside, Path(tempfile.gettempdir()) / f"iqa_index_{user}" / f"{digest}.parquet"]


def opened(source: Path) -> Index | None:
    """The index of a set, if there is one that can be read."""
    root = source if source.is_dir() else source.parent
    for path in candidates(source):
        if path.is_file():
            with contextlib.suppress(ValueError):
                return Index(path, root)
    return None


def _cannot_be_shown(keys) -> bool:
    """Whether one of a ``pyarrow.Array`` is no name that :func:`..printable.fault` lets pass."""
    import pyarrow
    from pyarrow import compute

    names = keys.dictionary if isinstance(keys, pyarrow.DictionaryArray) else keys
    return bool(compute.any(compute.match_substring_regex(names, NOT_IN_NAMES)).as_py())


def _table(rows: Rows, shard: int):
    import pyarrow

    captions = pyarrow.array(rows.caption, pyarrow.large_string())
    columns = {
        "key": pyarrow.array(rows.key, pyarrow.large_string()),
        "caption": captions,
        "captioned": captions.is_valid(),
        "shard": pyarrow.array(np.full(len(rows.key), shard, np.int32)),
        "offset": pyarrow.array(rows.offset, pyarrow.int64()),
        "size": pyarrow.array(rows.size, pyarrow.int64()),
        "uncaptioned": pyarrow.array([reason or None for reason in rows.uncaptioned], pyarrow.string()),
    }
    return pyarrow.table(columns)


def _arrow(numbers: np.ndarray):
    import pyarrow

    return pyarrow.array(numbers)
