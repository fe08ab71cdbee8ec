"""How the file of an index is laid out, and what of a stranger's is refused; see :mod:`.index`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
from typing_extensions import TypedDict

from .unfolding import ROOM

if TYPE_CHECKING:
    from pyarrow.parquet import ParquetFile

MARK = b"iqa_index"  # key of the metadata
VERSION = 1
GROUP = 1024  # rows of a row group
NUMBERS = {"shard": np.int32, "offset": np.int64, "size": np.int64}
TEXTS = ("key", "caption", "uncaptioned")
COLUMNS = {"key": "large_string", "caption": "large_string", "captioned": "bool", "shard": "int32", "offset": "int64",
           "size": "int64", "uncaptioned": "string"}  # fmt: skip
LEAST = 5  # bytes that a row takes in the file; in memory its numbers take 21
DESCRIBED = 2**28  # bytes of the metadata


class Shard(NamedTuple):
    """A file with pictures in it.

    Attributes:
        name: path below the set's folder.
        size, time: of the file when it was read; in bytes, and in nanoseconds.
    """

    name: str
    size: int
    time: int


class Known(TypedDict):
    """Metadata."""

    version: Literal[1]
    shards: list[Shard]
    problems: list[list[str]]


def check_layout(path: Path, file: ParquetFile) -> None:
    """Make sure that a file has the columns and row groups of an index, and no more rows than it can hold.

    Raises:
        ValueError: it has not.
    """
    import pyarrow.parquet as parquet

    described, schema = file.metadata, parquet.read_schema(path)
    if {field.name: str(field.type) for field in schema} != COLUMNS:
        raise ValueError("its columns are others")
    groups, rows = described.num_row_groups, described.num_rows
    if rows * LEAST > path.stat().st_size + ROOM // 2:
        raise ValueError(f"it declares {rows:,} rows, more than it can hold")
    counts = [described.row_group(number).num_rows for number in range(groups)]
    if counts != [min(GROUP, rows - start) for start in range(0, rows, GROUP)]:
        raise ValueError("its row groups are others")


def check_places(shard: np.ndarray, offset: np.ndarray, size: np.ndarray, ends: np.ndarray) -> None:
    """Make sure that pictures lie within their shards.

    Args:
        ends: bytes of each shard; of none 0.

    Raises:
        ValueError: one does not.
    """
    if not ((shard >= -1) & (shard < len(ends) - 1)).all():
        raise ValueError("a picture is of a shard that it does not list")
    if not ((offset >= 0) & (size >= -1) & (offset <= ends[shard] - size.clip(min=0))).all():
        raise ValueError("a picture lies outside of its shard")
