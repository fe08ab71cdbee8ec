"""``models/iqa/known.json``: SHA-256 of every weight file as it was when it was first used.

A file that is fetched again must be the same. One that someone replaced is used, and the log says so.
"""

from __future__ import annotations

import logging
from pathlib import Path

import folder_paths
from typing_extensions import TypedDict

from ..files import WrongFile, read_json, shown, write_json
from .weights import FOLDER, LoadedFile

FILE = "known.json"


class _Known(TypedDict):
    sha256: str
    size: int  # bytes
    time: int  # of the last change in nanoseconds: while both are the same, so is the file


def known_digest(name: str) -> str:
    """SHA-256 of a file of that name when it was first used; empty where none was."""
    entry = _read().get(name)
    return entry["sha256"] if entry else ""


def place() -> Path:
    """Where it lies."""
    return Path(folder_paths.get_folder_paths(FOLDER)[0]) / FILE


def note(file: LoadedFile) -> None:
    """Keep the digest of a file that is used for the first time; compare that of one which is known.

    Takes about a second per gigabyte for a file that is new or was written since. Where the list cannot be written, the
    file is used all the same.
    """
    known = _read()
    before = known.get(file.path.name)
    if before and (before["size"], before["time"]) == (file.size, file.time):
        return
    digest = file.sha256()
    if before and before["sha256"] != digest:
        logging.warning(
            "%s is another file than the one that was first used here (SHA-256 %.12s, now %.12s). If you replaced it "
            "yourself, delete its entry in %s; else get it again.",
            shown(file.path), before["sha256"], digest, shown(place()),
        )  # fmt: skip
        return
    try:
        write_json(place(), known | {file.path.name: _Known(sha256=digest, size=file.size, time=file.time)})
    except OSError as error:
        logging.info("The digest of %s is not kept: %s", shown(file.path.name), error)


def _read() -> dict[str, _Known]:
    if not place().is_file():
        return {}
    try:
        return read_json(place(), dict[str, _Known])
    except (OSError, WrongFile) as error:
        logging.warning("Digests of weight files are not compared: %s", error)
        return {}
