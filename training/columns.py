"""Columns of a Parquet file, which may come from a stranger."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..files import WrongFile, shown
from ..optional import needed

if TYPE_CHECKING:
    from pyarrow.parquet import FileMetaData

TYPES = {str: ("string", "large_string"), int: ("int64", "int32"), float: ("double", "float")}
ROOM = 2**24  # bytes that columns may unfold to, beside twice those of the file


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
    with needed("pyarrow"):
        import pyarrow
        import pyarrow.parquet as parquet
    try:
        with parquet.ParquetFile(path) as file:
            check_unfolding(path, file.metadata)
            schema = file.schema_arrow
            if optional and set(optional) <= set(schema.names):
                kinds = {**kinds, **optional}
            wrong = [name for name, kind in {**kinds, **(there or {})}.items()
                     if str(schema.field(name).type) not in TYPES[kind]]  # fmt: skip
            table = file.read(columns=list(kinds), use_threads=False)
        wrong += [name for name in kinds if table[name].null_count]
        if wrong:
            raise WrongFile(f"{shown(path)} has another type in its column {shown(wrong[0])}. Score these again.")
        return [table[name].to_numpy() for name in kinds]
    except (pyarrow.ArrowException, OSError, LookupError) as error:
        raise WrongFile(
            f"{shown(path)} is truncated or damaged ({shown(error)}). Delete it and score again: the rest is kept."
        ) from error


def check_unfolding(path: Path, described: FileMetaData, room: int = ROOM) -> None:
    """Refuse a Parquet file whose columns are far larger in memory than on the disk.

    Args:
        room: bytes that they may take beside twice those of the file.

    Raises:
        WrongFile: they are; packed repetitions of one value could be any number of rows.
    """
    groups = [described.row_group(number) for number in range(described.num_row_groups)]
    declared = max(described.num_rows * 8, sum(group.total_byte_size for group in groups))
    if declared > 2 * path.stat().st_size + room:
        raise WrongFile(f"{shown(path)} unfolds to {declared:,} bytes, so it is no table of scores. Delete it.")
