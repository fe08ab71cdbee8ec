"""Parquet files with the pictures in them, as Hugging Face's ``datasets`` writes them.

The picture is a column of ``{bytes, path}``, or of bytes if its name is one of ``IMAGE_FIELDS``.
"""

from __future__ import annotations

import bisect
import itertools
import threading
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ..files import shown
from ..optional import needed
from .captions import FIELDS, caption_of, caption_problem
from .unfolding import check_unfolding, read_pieces, read_table

if TYPE_CHECKING:
    from pyarrow.parquet import ParquetFile

IMAGE_FIELDS = ("image", "img", "picture", "jpg", "png", "webp")
PICTURES = 2**30  # bytes that the pictures of a row group may take beside twice the file: some are not compressed
_reading = threading.Lock()  # threads that read ahead ask for rows of the same group


def pictures_in(file: Path) -> list[tuple[str, str | None, int, None, str]]:
    """Name, caption, row, None and the reason of a missing caption of each row; empty for a table without pictures.

    Raises:
        ValueError: it is damaged.
    """
    with needed("pyarrow"):
        import pyarrow
        import pyarrow.parquet
    try:
        with pyarrow.parquet.ParquetFile(file) as table:
            if not image_column(table.schema_arrow):
                return []
            check_unfolding(file, table.metadata, PICTURES)
            fields = [name for name in table.schema_arrow.names if name in FIELDS]
            count = table.metadata.num_rows
        rows = read_table(file, fields, PICTURES).to_pylist() if fields else [{}] * count
    except (OSError, LookupError, UnicodeDecodeError, pyarrow.ArrowException) as error:
        raise ValueError(f"is damaged or no Parquet ({shown(error)})") from error
    return [(f"{row:08d}", caption_of(entry), row, None, caption_problem(entry)) for row, entry in enumerate(rows)]


def image_column(schema) -> str:
    """Path of the column with the pictures' bytes; empty if there is none."""
    import pyarrow.types as types

    named = sorted(schema, key=lambda field: field.name.lower() not in IMAGE_FIELDS)
    for field in named:
        if types.is_struct(field.type) and field.type.get_field_index("bytes") >= 0:
            return f"{field.name}.bytes"
        if field.name.lower() in IMAGE_FIELDS and (types.is_binary(field.type) or types.is_large_binary(field.type)):
            return field.name
    return ""


def image_bytes(file: Path, row: int) -> bytes:
    """Of one row; its row group is kept for the rows after it.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is damaged, or has no bytes in this row.
    """
    with _reading:
        time = file.stat().st_mtime_ns
        opened = _opened(file, time)
        group = bisect.bisect_right(opened.starts, row) - 1
        content = _group(file, time, group)[row - opened.starts[group]].as_py()
    if content is None:
        raise ValueError("the row has no bytes of a picture, at most a path to it")
    return content


class _Opened(NamedTuple):
    """A file, with the first row of each row group; not mapped, for it may be cut off while it is read."""

    file: ParquetFile
    starts: list[int]


@lru_cache(maxsize=64)
def _opened(file: Path, _time: int) -> _Opened:
    import pyarrow
    import pyarrow.parquet

    try:
        table = pyarrow.parquet.ParquetFile(file)
    except pyarrow.ArrowException as error:
        raise ValueError(f"the Parquet file is damaged ({shown(error)})") from error
    sizes = [table.metadata.row_group(number).num_rows for number in range(table.num_row_groups)]
    return _Opened(table, [0, *itertools.accumulate(sizes[:-1])])


@lru_cache(maxsize=4)
def _group(file: Path, time: int, number: int):
    """Column of bytes of a row group."""
    import pyarrow
    import pyarrow.compute

    try:
        table = _opened(file, time).file
        most = 2 * file.stat().st_size + PICTURES
        column = read_pieces(table, image_column(table.schema_arrow), file, most, 1, [number])
    except (OSError, LookupError, UnicodeDecodeError, pyarrow.ArrowException) as error:
        raise ValueError(f"the Parquet file is damaged ({shown(error)})") from error
    return pyarrow.compute.struct_field(column, "bytes") if pyarrow.types.is_struct(column.type) else column
