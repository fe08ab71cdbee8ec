"""Columns of a Parquet file, which may come from a stranger."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ..files import WrongFile, shown
from ..optional import needed

TYPES = {str: ("string", "large_string"), int: ("int64", "int32"), float: ("double", "float")}
ROOM = 2**24  # bytes that columns may unfold to, beside twice those of the file


def read_columns(path: Path, kinds: Mapping[str, type]) -> list[np.ndarray]:
    """By name; ``kinds`` says of what type each must be.

    Raises:
        WrongFile: the file is damaged, lacks one or has one of another type.
    """
    with needed("pyarrow"):
        import pyarrow
        import pyarrow.parquet as parquet
    try:
        size, described = path.stat().st_size, parquet.read_metadata(path)
        groups = [described.row_group(number) for number in range(described.num_row_groups)]
        declared = max(described.num_rows * 8, sum(group.total_byte_size for group in groups))
        if declared > 2 * size + ROOM:  # packed repetitions of one value could be any number of rows
            raise WrongFile(f"{shown(path)} unfolds to {declared:,} bytes, so it is no table of scores. Delete it.")
        table = parquet.read_table(path, columns=list(kinds))
        for name, kind in kinds.items():
            if str(table[name].type) not in TYPES[kind] or table[name].null_count:
                raise WrongFile(f"{shown(path)} has another type in its column {shown(name)}. Score these again.")
        return [table[name].to_numpy() for name in kinds]
    except (pyarrow.ArrowException, OSError, LookupError) as error:
        raise WrongFile(
            f"{shown(path)} is truncated or damaged ({shown(error)}). Delete it and score again: the rest is kept."
        ) from error
