"""Parquet files of strangers, read in the memory that a file of their size may take.

A few hundred bytes of Parquet can stand for any number of rows, and a dictionary with one long text for any number of
copies of it. So what is declared is compared first, texts are counted before they are copied, and what cannot be
counted comes in small pieces.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..files import WrongFile, shown

if TYPE_CHECKING:
    from pyarrow import ChunkedArray, Schema, Table
    from pyarrow.parquet import FileMetaData, ParquetFile

ROOM = 2**24  # bytes that columns may unfold to, beside twice those of the file
PIECE = 64  # rows of columns of lists that are read at once


def read_table(path: Path, columns: Sequence[str], room: int = ROOM) -> Table:
    """Columns of a Parquet file.

    Args:
        room: bytes that they may take beside twice those of the file.

    Raises:
        WrongFile: they unfold to more.
        OSError, pyarrow.ArrowException: it is damaged.
    """
    import pyarrow
    import pyarrow.parquet as parquet

    schema = parquet.read_schema(path)
    flat = [name for name in columns if _is_text(schema, name)]
    with parquet.ParquetFile(path, read_dictionary=flat) as file:
        check_unfolding(path, file.metadata, room)
        most = 2 * path.stat().st_size + room
        found = {name: _column(file, name, path, most, name in flat) for name in dict.fromkeys(columns)}
    return pyarrow.table(list(found.values()), list(found))


def read_pieces(file: ParquetFile, name: str, path: Path, most: int, rows: int, groups: list[int]) -> ChunkedArray:
    """A column, so many rows at once.

    Raises:
        WrongFile: it unfolds to more than ``most`` bytes.
    """
    import pyarrow

    pieces, taken = [], 0
    for batch in file.iter_batches(rows, groups, [name]):
        taken += batch.nbytes
        _check(path, taken, most)
        pieces.append(batch.column(0))
    column = pyarrow.chunked_array(pieces) if pieces else file.schema_arrow.empty_table()[name.partition(".")[0]]
    return check_rows(column, file.metadata, groups)


def check_rows(column: ChunkedArray, described: FileMetaData, groups: Sequence[int]) -> ChunkedArray:
    """The column of some row groups, if it has as many rows as these say.

    Raises:
        pyarrow.ArrowInvalid: it has not.
    """
    import pyarrow

    rows = sum(described.row_group(group).num_rows for group in groups)
    if len(column) != rows:
        raise pyarrow.ArrowInvalid(f"a column has {len(column):,} rows where {rows:,} are declared")
    return column


def check_unfolding(path: Path, described: FileMetaData, room: int = ROOM) -> None:
    """Refuse a Parquet file that declares more rows, or more bytes, than it can hold.

    Raises:
        WrongFile: it does.
    """
    groups = [described.row_group(number) for number in range(described.num_row_groups)]
    # not by column: to ask for one of a damaged file ends the process
    declared = max(described.num_rows * 8, sum(group.total_byte_size for group in groups))
    _check(path, declared, 2 * path.stat().st_size + room)


def _column(file: ParquetFile, name: str, path: Path, most: int, is_text: bool) -> ChunkedArray:
    import pyarrow

    groups = range(file.num_row_groups)
    if not is_text:
        nested = pyarrow.types.is_nested(file.schema_arrow.field(name).type)
        rows = PIECE if nested else max(1, file.metadata.num_rows)
        return read_pieces(file, name, path, most, rows, list(groups))
    column = check_rows(file.read([name], use_threads=False).column(0), file.metadata, groups)
    return unfold_texts(column, path, most)


def unfold_texts(column: ChunkedArray, path: Path, most: int) -> ChunkedArray:
    """Texts as they are from texts that were read as dictionaries (``read_dictionary``).

    Raises:
        WrongFile: they take more than ``most`` bytes.
    """
    import pyarrow
    import pyarrow.compute as compute

    if not pyarrow.types.is_dictionary(column.type):
        return column
    lengths = (compute.binary_length(chunk.dictionary).take(chunk.indices) for chunk in column.chunks)
    _check(path, sum(compute.sum(length).as_py() or 0 for length in lengths), most)
    return column.cast(column.type.value_type)


def _is_text(schema: Schema, name: str) -> bool:
    import pyarrow.types as types

    kind = schema.field(name).type if name in schema.names else None
    return kind is not None and (types.is_string(kind) or types.is_large_string(kind))


def _check(path: Path, taken: int, most: int) -> None:
    if taken > most:
        raise WrongFile(
            f"{shown(path)} unfolds to {taken:,} bytes or more, {most:,} at most are expected of its size. Delete it, "
            "and get the right one."
        )
