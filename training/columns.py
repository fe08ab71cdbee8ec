"""Columns of a Parquet file, which may come from a stranger."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..files import WrongFile, shown
from ..optional import needed
from ..pictures.unfolding import ROOM, check_unfolding, read_table

if TYPE_CHECKING:
    from pyarrow import Table
    from pyarrow.parquet import ParquetFile

TYPES = {str: ("string", "large_string"), int: ("int64", "int32"), float: ("double", "float")}


def read_columns(
    path: Path,
    kinds: Mapping[str, type],
    optional: Mapping[str, type] | None = None,
    there: Mapping[str, type] | None = None,
) -> list[np.ndarray]:
    """By name.

    Args:
        kinds: of what type each must be.
        optional: further ones, all of them or none, which earlier versions did not write.
        there: further ones that the file must have; they are not read.

    Raises:
        WrongFile: the file is damaged, lacks one or has one of another type.
    """
    with _reading(path) as file:
        if optional and set(optional) <= set(file.schema_arrow.names):
            kinds = {**kinds, **optional}
        _check_types(path, file, {**kinds, **(there or {})})
        return _arrays(path, read_table(path, list(kinds)), kinds)


def read_blocks(path: Path, kinds: Mapping[str, type], rows: int) -> Iterator[list[np.ndarray]]:
    """As :func:`read_columns`, about ``rows`` at a time; one block at least.

    Raises:
        WrongFile: see there.
    """
    import pyarrow

    with _reading(path) as file:
        check_unfolding(path, file.metadata)
        _check_types(path, file, kinds)
        if not file.metadata.num_rows:
            yield _arrays(path, read_table(path, list(kinds)), kinds)
        taken, most = 0, 2 * path.stat().st_size + ROOM
        for batch in file.iter_batches(rows, columns=list(kinds), use_threads=False):
            taken += batch.nbytes
            if taken > most:
                raise WrongFile(f"{shown(path)} unfolds to {taken:,} bytes or more, so it is no table. Delete it.")
            yield _arrays(path, pyarrow.Table.from_batches([batch]), kinds)


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[ParquetFile]:
    with needed("pyarrow"):
        import pyarrow
        import pyarrow.parquet as parquet
    try:
        with parquet.ParquetFile(path) as file:
            yield file
    except (pyarrow.ArrowException, OSError, LookupError, UnicodeDecodeError) as error:
        raise WrongFile(
            f"{shown(path)} is truncated or damaged ({shown(error)}). Delete it and score again: the rest is kept."
        ) from error


def _check_types(path: Path, file: ParquetFile, kinds: Mapping[str, type]) -> None:
    schema = file.schema_arrow
    for name, kind in kinds.items():
        if str(schema.field(name).type) not in TYPES[kind]:
            raise _other_type(path, name)


def _arrays(path: Path, table: Table, kinds: Mapping[str, type]) -> list[np.ndarray]:
    for name in kinds:
        if table[name].null_count:
            raise _other_type(path, name)
    return [table[name].to_numpy() for name in kinds]


def _other_type(path: Path, name: str) -> WrongFile:
    return WrongFile(f"{shown(path)} has another type in its column {shown(name)}. Score these again.")
