"""``unreadable.txt``: what a table says about pictures that have no row, or one without a score."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from ..files import shown, write_text, written_whole
from ..optional import needed
from ..pictures.reading import Picture, UnreadablePicture
from .columns import read_columns
from .pictures_seen import SEEN, Seen, compare, look

UNREADABLE, SEEN_UNREADABLE = "unreadable.txt", "unreadable.parquet"


def write(folder: Path, lines: Iterable[str], pictures: Sequence[Picture]) -> None:
    """Write the list.

    Args:
        lines: ``key: reason``.
        pictures: those that could not be read; once they are others, the list does not hold for them.
    """
    with needed("pyarrow"):
        import pyarrow
        import pyarrow.parquet as parquet
    keys, seen = [], []
    for picture in pictures:
        with contextlib.suppress(UnreadablePicture):  # not even its bytes
            seen.append(look(picture))
            keys.append(picture.key)
    columns = {"key": pyarrow.array(keys, pyarrow.string())}
    known = Seen.joined(seen).columns()
    columns |= {name: pyarrow.array(known[name], pyarrow.int64() if kind is int else pyarrow.string())
                for name, kind in SEEN.items()}  # fmt: skip
    with written_whole(folder / SEEN_UNREADABLE) as temporary:
        parquet.write_table(pyarrow.table(columns), temporary)
    write_text(folder / UNREADABLE, "".join(f"{line}\n" for line in lines))


def still_unreadable(folder: Path, pictures: Sequence[Picture]) -> set[str]:
    """Keys of those pictures that the list names and that are still the same.

    Raises:
        WrongFile: ``unreadable.parquet`` is damaged.
    """
    listed = folder / UNREADABLE
    text = listed.read_text(encoding="utf-8", errors="replace") if listed.is_file() else ""
    names = {line[: found.start()] for line in text.splitlines() for found in re.finditer(": ", line)}
    chosen = [picture for picture in pictures if shown(picture.key) in names]
    if chosen and (folder / SEEN_UNREADABLE).is_file():
        keys, *seen = read_columns(folder / SEEN_UNREADABLE, {"key": str, **SEEN})
        replaced = {chosen[number].key for number in compare(chosen, keys.tolist(), Seen.of_columns(*seen)).replaced}
        chosen = [picture for picture in chosen if picture.key not in replaced]
    return {picture.key for picture in chosen}
