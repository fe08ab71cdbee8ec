"""Captions of pictures in a folder: text files beside them, and tables.

* ``cat.txt``, ``cat.caption`` or, with one of the fields below, ``cat.json`` beside ``cat.png``;
* ``metadata.jsonl``, ``metadata.csv``, ``metadata.tsv`` or ``metadata.parquet`` in any folder, as for Hugging Face's
  ``imagefolder``: ``file_name`` relative to the table, and ``text``, ``caption`` or ``prompt``. They win.
"""

from __future__ import annotations

import csv
import io
import json
import os
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from ..files import shown
from ..optional import needed
from .text import decode_text
from .unfolding import read_table

FIELDS = ("text", "caption", "prompt")
NAMES = ("file_name", "filename", "file", "image", "path")  # columns of tables, the first that is there
BESIDE = (".txt", ".caption", ".json")
TABLES = ("metadata.jsonl", "metadata.csv", "metadata.tsv", "metadata.parquet")
LONGEST = 2**20  # bytes of a text file; the longest caption that an encoder takes has some thousand
DELIMITERS = (",", ";", "\t")  # of CSV files; spreadsheets of some languages write semicolons


class Captions:
    """Captions of a folder.

    Args:
        files: all that are in it.
    """

    def __init__(self, files: Iterable[Path]):
        self._files = set(files)
        self._texts: dict[str, str] = {}
        self._problem = ""  # the first one of the tables
        for table in sorted(path for path in self._files if path.name.lower() in TABLES):
            try:
                for entry in _entries(table):
                    self._take(table, entry)
            except (OSError, ValueError) as error:
                self._problem = self._problem or f"{shown(table.name)} {shown(error)}"

    def of(self, picture: Path) -> tuple[str | None, str]:
        """Caption, or None and why there is none."""
        text = self._texts.get(_place(picture))
        if text:
            return text, ""
        for suffix in BESIDE:
            beside = picture.with_suffix(suffix)
            if beside in self._files:
                try:
                    found = _beside(beside)
                except (OSError, ValueError) as error:
                    return text, f"{shown(beside.name)} {shown(error)}"
                if found is not None:
                    return found, ""
        return text, self._problem or f"no {shown(picture.with_suffix('.txt').name)} beside it"

    def _take(self, table: Path, entry: Mapping | str) -> None:
        """A row of a table, or what is wrong with it."""
        if isinstance(entry, str):
            self._problem = self._problem or f"{shown(table.name)}, {entry}"
            return
        name = next((entry[field] for field in NAMES if isinstance(entry.get(field), str)), None)
        caption = caption_of(entry)
        if name is None or caption is None:
            missing = f"no {NAMES[0]}" if name is None else caption_problem(entry)
            self._problem = self._problem or f"{shown(table.name)} has an entry with {missing}"
            return
        self._texts.setdefault(_place(table.parent / name.replace("\\", "/")), caption)  # of tables from Windows
        self._texts[_place(table.parent / name)] = caption


def caption_of(entry: Mapping) -> str | None:
    """Of a row or a JSON object: its first field of ``FIELDS`` with a text, of a list of texts the first one."""
    for field in FIELDS:
        value = entry.get(field)
        if isinstance(value, list) and value:
            value = value[0]
        if isinstance(value, (str, int, float)) and value == value and not _is_broken(str(value)):
            return str(value).strip()
    return None


def caption_problem(entry: Mapping) -> str:
    """Why :func:`caption_of` finds none; empty if it does."""
    if caption_of(entry) is not None:
        return ""
    there = [field for field in FIELDS if entry.get(field) is not None]
    return f"a {there[0]} that is no text" if there else f"no {', '.join(FIELDS[:-1])} or {FIELDS[-1]}"


def parse_text(data: bytes, suffix: str) -> str | None:
    """Caption in the content of a text or JSON file; None for JSON without one.

    Raises:
        ValueError: it cannot be understood; the reason is worded to follow the file's name.
    """
    if len(data) > LONGEST:
        raise ValueError(f"is no caption, for it has more than {LONGEST:,} bytes")
    text = decode_text(data)
    if suffix != ".json":
        return text.strip()
    try:
        entry = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"is no JSON ({error})") from error
    return caption_of(entry) if isinstance(entry, dict) else None


def _beside(file: Path) -> str | None:
    with file.open("rb") as opened:
        return parse_text(opened.read(LONGEST + 1), file.suffix)


def _entries(table: Path) -> Iterator[dict | str]:
    """Rows of a table, or a text for one that cannot be understood."""
    if table.suffix.lower() == ".parquet":
        yield from _rows_of_parquet(table)
        return
    text = decode_text(table.read_bytes())
    if table.suffix.lower() == ".jsonl":
        for number, line in enumerate(text.split("\n"), 1):  # splitlines would split at U+2028, which JSON may hold
            if line.strip():
                yield _object(line, number)
        return
    first = text.partition("\n")[0]
    delimiter = "\t" if table.suffix.lower() == ".tsv" else max(DELIMITERS, key=first.count)
    try:
        yield from csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter, restval=None)
    except csv.Error as error:
        raise ValueError(f"is no CSV ({error})") from error


def _object(line: str, number: int) -> dict | str:
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError) as error:
        return f"line {number} cannot be understood ({error})"
    return entry if isinstance(entry, dict) else f"line {number} cannot be understood (no object)"


def _rows_of_parquet(table: Path) -> list[dict]:
    with needed("pyarrow"):
        import pyarrow
        import pyarrow.parquet
    try:
        columns = [name for name in pyarrow.parquet.read_schema(table).names if name in (*NAMES, *FIELDS)]
        return read_table(table, columns).to_pylist()
    except (OSError, LookupError, UnicodeDecodeError, pyarrow.ArrowException) as error:
        raise ValueError(f"is damaged ({error})") from error


def _is_broken(text: str) -> bool:
    """Half characters, which JSON can escape and nothing can encode."""
    return any("\ud800" <= character <= "\udfff" for character in text)


def _place(path: Path) -> str:
    """One spelling: without ``..``, and with accents as one character, which macOS writes as two."""
    return unicodedata.normalize("NFC", os.path.normpath(path))
