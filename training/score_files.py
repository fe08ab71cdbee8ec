"""Tables of scores that others made: CSV, TSV, Parquet and Feather, told apart by what is in them."""

from __future__ import annotations

import csv
import difflib
import io
import math
import re
from pathlib import Path

import numpy as np

from ..files import WrongFile, shown
from ..optional import needed
from ..pictures.captions import DELIMITERS
from ..pictures.text import decode_text
from ..pictures.unfolding import check_unfolding, read_table

PARQUET, FEATHER = b"PAR1", b"ARROW1"  # how the files begin
ABSENT = ("", "na", "n/a", "nan", "none", "null", "-")  # no score
WHOLE = re.compile(r"\d+\.0")
ROOM = 2**25  # bytes that a file may unfold to, beside twice its own
SHOWN = 20  # columns in a message


class ScoreFile:
    """A file of scores, opened.

    Args:
        path: of the file.

    Attributes:
        path: the same.
        columns: their names, in order.

    Raises:
        OSError: there is none.
        WrongFile: it is damaged, or no such file.
    """

    def __init__(self, path: Path):
        self.path = path
        with path.open("rb") as file:
            beginning = file.read(8)
        self._rows: list[dict] = []
        self._is_decimal_comma = False
        self._is_parquet = beginning.startswith(PARQUET)
        self._is_arrow = self._is_parquet or beginning.startswith(FEATHER)
        self.columns = self._schema() if self._is_arrow else self._read_text()

    def keys(self, column: str) -> list[str]:
        """Texts of a column; whole numbers are written as such, empty for a row without one.

        Raises:
            WrongFile: there is no such column, or no row.
        """
        found = ["" if value is None else str(value).strip() for value in self._values(column)]
        self._require_rows(found)
        found = ["" if text == "nan" else text for text in found]
        if all(WHOLE.fullmatch(text) for text in filter(None, found)):  # as pandas writes numbers beside absent ones
            found = [text.removesuffix(".0") for text in found]
        return found

    def numbers(self, column: str) -> np.ndarray:
        """``[rows]`` float64 of a column; NaN where there is none.

        Raises:
            WrongFile: there is no such column, or it holds something else.
        """
        values = self._values(column)
        return np.array([self._number(value, column, row) for row, value in enumerate(values, 1)], np.float64)

    def require(self, column: str) -> None:
        """Raises:
            WrongFile: there is no such column.
        """  # fmt: skip
        if column in self.columns:
            return
        more = f" and {len(self.columns) - SHOWN} more" if len(self.columns) > SHOWN else ""
        near = difflib.get_close_matches(column, self.columns, n=1)
        hint = f" Did you mean {shown(near[0])}?" if near else ""
        there = shown(", ".join(self.columns[:SHOWN]))
        raise WrongFile(f"{shown(self.path)} has no column {shown(column)}; it has {there}{more}.{hint}")

    def _require_rows(self, rows: list) -> None:
        if not rows:
            raise WrongFile(f"{shown(self.path)} has no rows below its head, so there is nothing to import.")

    def _values(self, column: str) -> list:
        self.require(column)
        if not self._is_arrow:
            return [row.get(column) for row in self._rows]
        return self._arrow_column(column)

    def _number(self, value: object, column: str, row: int) -> float:
        if value is None:
            return math.nan
        text = str(value).strip()
        if text.lower() in ABSENT:
            return math.nan
        if self._is_decimal_comma and "." not in text:
            text = text.replace(",", ".")
        try:
            return float(text)
        except ValueError:
            raise WrongFile(
                f"{shown(self.path)} has {shown(repr(value))} in row {row} of its column {shown(column)}, which is no "
                "number. Choose a column of numbers, or mend the row."
            ) from None

    def _read_text(self) -> list[str]:
        try:
            text = decode_text(self.path.read_bytes())
            first = text.partition("\n")[0]
            delimiter = "\t" if self.path.suffix.lower() == ".tsv" else max(DELIMITERS, key=first.count)
            self._is_decimal_comma = delimiter != ","
            table = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter, restval=None)
            names = [(name or "").strip() for name in table.fieldnames or []]
            table.fieldnames = names
            self._rows = list(table)
        except (ValueError, csv.Error) as error:
            raise WrongFile(f"{shown(self.path)} is no table that can be read: it {shown(error)}.") from error
        self._require_rows(self._rows)
        return names

    def _schema(self) -> list[str]:
        with needed("pyarrow"):
            import pyarrow
            import pyarrow.parquet as parquet
        try:
            if self._is_parquet:
                check_unfolding(self.path, parquet.read_metadata(self.path), ROOM)
                return list(parquet.read_schema(self.path).names)
            with pyarrow.ipc.open_file(self.path) as opened:
                return list(opened.schema.names)
        except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:
            raise self._damaged(error) from error

    def _arrow_column(self, name: str) -> list:
        import pyarrow

        try:
            if self._is_parquet:
                return read_table(self.path, [name], ROOM).column(0).to_pylist()
            chosen = pyarrow.ipc.IpcReadOptions(included_fields=[self.columns.index(name)])
            values, taken = [], 0
            with pyarrow.ipc.open_file(self.path, options=chosen) as opened:
                for number in range(opened.num_record_batches):
                    batch = opened.get_batch(number)
                    batch.validate(full=True)  # damaged places of texts would be read outside of the file
                    taken += batch.nbytes
                    if taken > 2 * self.path.stat().st_size + ROOM:
                        raise WrongFile(f"{shown(self.path)} unfolds to {taken:,} bytes or more, so it is no table.")
                    values += batch.column(0).to_pylist()
            return values
        except (pyarrow.ArrowException, OSError, LookupError, UnicodeDecodeError) as error:
            raise self._damaged(error) from error

    def _damaged(self, error: Exception) -> WrongFile:
        return WrongFile(f"{shown(self.path)} is truncated or damaged ({shown(error)}). Get it again.")
