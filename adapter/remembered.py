"""Metrics that someone entered once for an adapter file that does not say them, by the file's digest."""

from __future__ import annotations

import hashlib
import logging
import os
from functools import lru_cache
from pathlib import Path

from ..files import WrongFile, read_json, shown, write_json

FILE = "entered_metrics.json"  # in the first folder of adapters: digest of a file -> metrics in training order

CHUNK = 2**20  # bytes


def remember(folder: str | Path, adapter: str | Path, metrics: str) -> None:
    """Keep the metrics of a file; where the folder cannot be written to, say so in the log and go on."""
    known = _all(folder)
    if known.get(digest := file_digest(adapter)) == metrics:
        return
    try:
        write_json(Path(folder, FILE), known | {digest: metrics})
    except OSError as error:
        logging.warning("The metrics of %s are not remembered: %s", shown(Path(adapter).name), error)


def recall(folder: str | Path, adapter: str | Path) -> str:
    """The metrics that were entered for a file with these contents, under whatever name; empty where none were."""
    known = _all(folder)
    return known.get(file_digest(adapter), "") if known else ""


def file_digest(path: str | Path) -> str:
    """SHA-256 of a file in hexadecimal; computed again when the file changes."""
    state = os.stat(path)
    return _digest(str(path), state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=1024)
def _digest(path: str, _written: int, _size: int) -> str:
    total = hashlib.sha256()
    with open(path, "rb") as file:
        while part := file.read(CHUNK):
            total.update(part)
    return total.hexdigest()


def _all(folder: str | Path) -> dict[str, str]:
    path = Path(folder, FILE)
    if not path.is_file():
        return {}
    try:
        return read_json(path, dict[str, str])
    except (OSError, WrongFile) as error:
        logging.warning("Entered metrics are not remembered: %s", error)
        return {}
