"""Columns of a Parquet file, which may come from a stranger."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ..files import WrongFile, shown
from ..optional import needed
from ..pictures.unfolding import read_table

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
    with needed("pyarrow"):
        import pyarrow
        import pyarrow.parquet as parquet
    try:
        with parquet.ParquetFile(path) as file:
            schema = file.schema_arrow
        if optional and set(optional) <= set(schema.names):
            kinds = {**kinds, **optional}
        wrong = [name for name, kind in {**kinds, **(there or {})}.items()
                 if str(schema.field(name).type) not in TYPES[kind]]  # fmt: skip
        table = read_table(path, list(kinds))
        wrong += [name for name in kinds if table[name].null_count]
        if wrong:
            raise WrongFile(f"{shown(path)} has another type in its column {shown(wrong[0])}. Score these again.")
        return [table[name].to_numpy() for name in kinds]
    except (pyarrow.ArrowException, OSError, LookupError, UnicodeDecodeError) as error:
        raise WrongFile(
            f"{shown(path)} is truncated or damaged ({shown(error)}). Delete it and score again: the rest is kept."
        ) from error
