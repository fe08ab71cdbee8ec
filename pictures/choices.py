"""Folders to choose a set of pictures from."""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path

from ..printable import fault
from .captions import TABLES
from .folders import is_junk
from .pixels import SUFFIXES
from .reading import SHARDS

DEPTH = 4  # folders below each other; those farther below need a path
REMEMBERED = 10_000  # folders


def folders_with_pictures(root: str | Path) -> list[str]:
    """Folders below ``root`` with pictures or shards in them or below them, as ``set/photos``, ordered by name.

    A folder is looked at again only when its time of change is another one, since ComfyUI asks for its lists often.
    """
    return sorted(_below(Path(root), "", DEPTH, frozenset())[1])


def _below(folder: Path, name: str, depth: int, around: frozenset) -> tuple[bool, list[str]]:
    """Whether there are pictures in or below a folder; and its name, if it has one, with those below it that have some.

    Args:
        around: identities of the folders around it; a link to one of them is a loop.
    """
    try:
        state = folder.stat()
        identity = (state.st_dev, state.st_ino)
        if identity in around:
            return False, []
        has_pictures, folders = _content(str(folder), state.st_mtime_ns)
    except OSError:  # nobody may open it
        return False, []
    found = []
    for inner in folders if depth else ():
        below, names = _below(folder / inner, f"{name}/{inner}".lstrip("/"), depth - 1, around | {identity})
        has_pictures, found = has_pictures or below, found + names
    return has_pictures, [name, *found] if name and has_pictures else found


@lru_cache(REMEMBERED)
def _content(folder: str, _changed: int) -> tuple[bool, tuple[str, ...]]:
    """Whether a folder itself holds pictures, and the folders in it."""
    has_pictures, folders = False, []
    with os.scandir(folder) as entries:
        for entry in entries:
            if is_junk(entry.name) or fault(entry.name):
                continue
            if entry.is_dir():
                folders.append(entry.name)
            elif not has_pictures:
                has_pictures = _is_picture(entry.name.lower())
    return has_pictures, tuple(folders)


def _is_picture(name: str) -> bool:
    return name.endswith((*SUFFIXES, *SHARDS)) and name not in TABLES
