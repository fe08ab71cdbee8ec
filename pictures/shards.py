"""WebDataset shards: uncompressed ``*.tar`` files, whose members share a name up to its first dot.

``000017.jpg`` has its caption in ``000017.txt``, ``000017.caption`` or ``000017.json``.
"""

from __future__ import annotations

import os
import tarfile
from pathlib import Path
from typing import BinaryIO

from ..printable import fault, shown
from .captions import BESIDE, LONGEST, parse_text
from .folders import is_junk
from .pixels import SUFFIXES


def pictures_in(shard: Path) -> tuple[list[tuple[str, str | None, int, int, str]], list[str]]:
    """Of each picture: name, caption, place and size in the file, reason of a missing caption; and of members that are
    skipped a sentence each.

    Raises:
        ValueError: it is damaged or compressed.
    """
    places: dict[str, tuple[int, int]] = {}
    captions: dict[str, dict[str, str]] = {}
    problems: dict[str, str] = {}
    skipped, dotted = [], []
    try:
        with shard.open("rb") as file, tarfile.open(fileobj=_Bounded(file), mode="r:") as archive:
            for member in filter(tarfile.TarInfo.isfile, map(_checked, archive)):
                folder, _, name = member.name.rpartition("/")
                stem, _, suffix = name.partition(".")
                key, suffix = f"{folder}/{stem}".lstrip("./"), f".{suffix.lower()}"
                if any(is_junk(part) for part in member.name.split("/") if part not in ("", ".", "..")):
                    continue
                if suffix in SUFFIXES and not (reason := fault(key)):
                    places[key] = member.offset_data, member.size
                elif suffix in SUFFIXES:
                    skipped.append(f"{shown(shard.name)}/{shown(member.name)}: {reason}; rename it")
                elif suffix in BESIDE:
                    _take_caption(archive, member, suffix, captions.setdefault(key, {}), problems, key)
                elif suffix.endswith(SUFFIXES):
                    dotted.append(member.name)
    except (tarfile.TarError, OSError, EOFError, ValueError, ArithmeticError, RecursionError) as error:
        raise ValueError(f"is damaged or no uncompressed .tar shard ({shown(error)})") from error
    dotted = [name for name in dotted if _key(name) not in places]  # others are masks and the like of a picture
    if dotted:
        skipped.append(
            f"{shown(shard.name)}: {len(dotted)} pictures with several dots in their names, which WebDataset cuts at "
            f"the first, {shown(dotted[0])} among them"
        )
    found = []
    for key, place in places.items():
        caption = next((captions[key][suffix] for suffix in BESIDE if suffix in captions.get(key, {})), None)
        reason = "" if caption is not None else problems.get(key, "no .txt or .json of its name in the shard")
        found.append((key, caption, *place, reason))
    return found, skipped


class _Bounded:
    """A file of which nothing is read that it cannot hold: tarfile reads as much as a header says."""

    def __init__(self, file: BinaryIO):
        self._file, self._size = file, os.fstat(file.fileno()).st_size
        self.seek, self.tell, self.close = file.seek, file.tell, file.close

    def read(self, count: int = -1) -> bytes:
        if count > self._size:
            raise tarfile.ReadError("a header says more bytes than there are")
        return self._file.read(count)


def _checked(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """Raises:
        tarfile.ReadError: what follows the member would come before it, so that reading would never end; or the member
            has holes, which no WebDataset has.
    """  # fmt: skip
    if member.size < 0 or member.issparse():
        raise tarfile.ReadError(f"{member.name} has an impossible size, or holes")
    return member


def _key(name: str) -> str:
    folder, _, name = name.rpartition("/")
    return f"{folder}/{name.partition('.')[0]}".lstrip("./")


def _take_caption(archive, member, suffix: str, captions: dict, problems: dict, key: str) -> None:
    try:
        caption = parse_text(archive.extractfile(member).read(LONGEST + 1), suffix)
    except ValueError as error:
        problems[key] = f"{shown(member.name)} {shown(error)}"
        return
    if caption is not None:
        captions[suffix] = caption
