"""Sets of pictures with captions: folders, as LoRA trainers and Hugging Face's ``imagefolder`` have them, and shards.

* Folder: ``cat.png`` with its caption in ``cat.txt`` beside it or in a table, see :mod:`.captions`; folders inside it
  count, too.
* WebDataset shards, ``*.tar``, see :mod:`.shards`, and Parquet files with pictures in them, see :mod:`.parquet`: alone,
  in a folder, or beside loose pictures. They are read at random.

Only names, places and captions are held in memory; a picture is read when it is asked for.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

from ..files import is_utf8, shown
from . import parquet, shards
from .captions import BESIDE, TABLES, Captions
from .folders import files_below
from .picture import Picture, UnreadablePicture, read_picture
from .pixels import SUFFIXES

__all__ = ["Found", "Picture", "UnreadablePicture", "captioned", "find_pictures", "fingerprint", "left_out",
           "read_picture"]  # fmt: skip

SHARDS = (".tar", ".parquet")
READ = {*SUFFIXES, *SHARDS, *BESIDE}  # endings of files that are used
CAPTIONED = 0.5  # share of a set below which captions are more likely lost than left away
NAMED = 3  # files in a note


class Found(list[Picture]):
    """Pictures ordered by key.

    Attributes:
        left_out: what else is there and cannot be used: ``name: reason``.
    """

    def __init__(self, pictures: Sequence[Picture], left_out: list[str]):
        super().__init__(sorted(pictures, key=lambda picture: picture.key))
        self.left_out = left_out


def find_pictures(source: str | Path) -> Found:
    """All pictures of a folder and its shards, or of one shard.

    Raises:
        FileNotFoundError: there is nothing at ``source``.
        ValueError: it holds no pictures, or none that can be used.
    """
    source = Path(source).expanduser()
    if not source.exists():
        raise FileNotFoundError(f"There is no {shown(source)}; give a folder of pictures or of shards.")
    root = source if source.is_dir() else source.parent
    files, problems = files_below(source) if source.is_dir() else ([source], [])
    captions, pictures = Captions(files if source.is_dir() else []), []
    for file in files:
        suffix, name = file.suffix.lower(), file.relative_to(root).as_posix()
        is_shard = (suffix in SHARDS or file == source) and name.lower() not in TABLES
        if not is_shard and suffix not in SUFFIXES:
            continue
        if not is_utf8(name):
            problems.append(f"{shown(name)}: its name is not UTF-8; rename it")
        elif not is_shard:
            caption, reason = captions.of(file)
            pictures.append(Picture(name, caption, file, uncaptioned=reason))
        else:
            pictures += _in_shard(file, name, problems)
    if pictures:
        return Found(pictures, problems)
    if problems:
        raise ValueError(f"{shown(source)} holds no pictures that can be used: {_few(problems)}.")
    raise ValueError(
        f"{shown(source)} holds no pictures: files ending in {', '.join(SUFFIXES)}, or .tar or .parquet shards of "
        "them, are expected."
    )


def fingerprint(source: str | Path) -> str:
    """Digest of the names, sizes and times of all files that :func:`find_pictures` would use; none is opened.

    Empty where there is nothing at ``source``.
    """
    source = Path(source).expanduser()
    if not source.exists():
        return ""
    files, _ = files_below(source) if source.is_dir() else ([source], [])
    digest = hashlib.blake2b(digest_size=16)
    for file in files:
        if file == source or file.suffix.lower() in READ or file.name.lower() in TABLES:
            state = os.stat(file)
            digest.update(repr((os.fspath(file), state.st_size, state.st_mtime_ns)).encode())
    return digest.hexdigest()


def left_out(pictures: Sequence[Picture]) -> list[str]:
    """Nothing, or a sentence about what :func:`find_pictures` could not use."""
    lines = pictures.left_out if isinstance(pictures, Found) else []
    return [f"{len(lines)} of the files cannot be used and are left out: {_few(lines)}."] if lines else []


def captioned(pictures: Sequence[Picture]) -> tuple[list[Picture], list[str]]:
    """Those that have a caption; and nothing, or a sentence about the others.

    Raises:
        ValueError: none has, or fewer than half.
    """
    chosen = [picture for picture in pictures if picture.caption is not None]
    without = [f"{shown(picture.key)}: {picture.uncaptioned}" for picture in pictures if picture.caption is None]
    if not chosen:
        raise ValueError(
            f"None of the {len(pictures)} pictures has a caption. Put the text for {shown(pictures[0].key)} into a "
            '.txt file of the same name, or into metadata.jsonl: {"file_name": "...", "text": "..."}. Now there is '
            f"{_few(without)}."
        )
    if len(chosen) < CAPTIONED * len(pictures):
        raise ValueError(
            f"Only {len(chosen)} of {len(pictures)} pictures have a caption, fewer than half ({_few(without)}). Write "
            "the others (an empty .txt file is a caption, too), or give a folder of those pictures only that have one."
        )
    count = f"{len(without)} of {len(pictures)} pictures have no caption and are left out"
    return chosen, [f"{count}: {_few(without)}."] if without else []


def _in_shard(file: Path, name: str, problems: list[str]) -> list[Picture]:
    try:
        if file.suffix.lower() == ".parquet":
            found = parquet.pictures_in(file)
        else:
            found, skipped = shards.pictures_in(file)
            problems += skipped
    except ValueError as error:
        problems.append(f"{shown(name)} {error}")
        return []
    return [Picture(f"{name}/{key}", caption, file, *rest) for key, caption, *rest in found]


def _few(lines: Sequence[str]) -> str:
    more = [f"and {len(lines) - NAMED} more"] if len(lines) > NAMED else []
    return "; ".join([*lines[:NAMED], *more])
