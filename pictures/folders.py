"""Files of a folder and the folders below it."""

from __future__ import annotations

import os
from collections import deque
from pathlib import Path

from ..files import shown

JUNK = ("__macosx", "@eadir", "$recycle.bin", "system volume information", "thumbs.db", "desktop.ini")


def is_junk(name: str) -> bool:
    """Hidden files and folders (``._cat.png``, ``.ipynb_checkpoints``), and what systems leave beside pictures."""
    return name.startswith(".") or name.lower() in JUNK


def files_below(root: Path) -> tuple[list[Path], list[str]]:
    """Files, and what cannot be read with the reason.

    Links to folders are followed, after all other folders: each folder comes once, by its own path if it has one below
    ``root``; links to folders around ``root`` are loops and lead nowhere.
    """
    found, problems = [], []
    seen = {_identity(folder) for folder in root.resolve().parents}
    waiting, links = deque([root]), deque()
    while waiting or links:
        folder = waiting.popleft() if waiting else links.popleft()
        try:
            identity = _identity(folder)
            if identity in seen:
                continue
            seen.add(identity)
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError as error:
            problems.append(f"{shown(folder.relative_to(root))}: cannot be opened ({error.strerror})")
            continue
        for entry in entries:
            if is_junk(entry.name):
                continue
            path = Path(entry)
            if path.is_dir() if entry.is_symlink() else entry.is_dir():
                (links if entry.is_symlink() else waiting).append(path)
            elif path.is_file() if entry.is_symlink() else entry.is_file():
                found.append(path)
            elif entry.is_symlink():
                problems.append(f"{shown(path.relative_to(root))}: a link to nothing")
    return found, problems


def _identity(folder: Path) -> tuple[int, int]:
    state = folder.stat()
    return state.st_dev, state.st_ino
