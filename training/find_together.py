"""Pictures of a set, looked for by one process of a launch and told to the others through the index."""

from __future__ import annotations

from pathlib import Path

import comfy.model_management

from ..pictures.index import Index
from ..pictures.reading import Found, Indexed, find_pictures
from .processes import in_main, processes


def find_together(source: str | Path) -> Found | Indexed:
    """As :func:`..pictures.reading.find_pictures`, but a large set is looked through by the main process only; the
    others map the index that it wrote, or write one of their own where they cannot see it.

    Raises:
        FileNotFoundError, ValueError: see there.
    """
    processes(cpu=comfy.model_management.get_torch_device().type == "cpu")
    mine: list[Found | Indexed] = []

    def find() -> tuple[Path, Path] | None:
        mine.append(find_pictures(source))
        return (mine[0].index.path, mine[0].index.root) if isinstance(mine[0], Indexed) else None

    place = in_main(find)
    if mine:
        return mine[0]
    if place is not None and place[0].is_file():
        return Indexed(Index(*place))
    return find_pictures(source)
