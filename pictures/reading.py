"""Sets of pictures with captions: folders, as LoRA trainers and Hugging Face's ``imagefolder`` have them, and shards.

* Folder: ``cat.png`` with its caption in ``cat.txt`` beside it or in a table, see :mod:`.captions`; folders inside it
  count, too.
* WebDataset shards, ``*.tar``, see :mod:`.shards`, and Parquet files with pictures in them, see :mod:`.parquet`: alone,
  in a folder, or beside loose pictures. They are read at random.

A picture is read when it is asked for. A set of ``INDEXED`` pictures or more is written down in an index, see
:mod:`.index`, so that its shards are looked through once, and again only those that have changed.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..printable import fault, shown
from . import index, parquet, shards
from .captions import BESIDE, TABLES, Captions
from .folders import files_below
from .found import Found, Indexed, are_captioned, take
from .index import Index, Rows, Shard
from .picture import Picture, UnreadablePicture, read_picture
from .pixels import SUFFIXES

__all__ = ["Found", "Indexed", "Picture", "UnreadablePicture", "captioned", "find_pictures", "fingerprint", "left_out",
           "read_picture"]  # fmt: skip

SHARDS = (".tar", ".parquet")
READ = {*SUFFIXES, *SHARDS, *BESIDE}  # endings of files that are used
CAPTIONED = 0.5  # share of a set below which captions are more likely lost than left away
NAMED = 3  # files in a note
INDEXED = 10_000  # pictures from which on a set has an index; a smaller one is found in a second


def find_pictures(source: str | Path) -> Found | Indexed:
    """All pictures of a folder and its shards, or of one shard.

    Raises:
        FileNotFoundError: there is nothing at ``source``.
        ValueError: it holds no pictures, or none that can be used.
    """
    source = Path(source).expanduser()
    if not source.exists():
        raise FileNotFoundError(f"There is no {shown(source)}; give a folder of pictures or of shards.")
    files = _files(source)
    before = index.opened(source)
    if before is not None and _is_of(before, files):
        return Indexed(before)
    parts = [_known(before, shard) or _scanned(files.root, shard) for shard in files.shards]
    count = len(files.loose) + sum(len(part.rows.key) for part in parts)
    problems = [*files.problems, *(line for part in parts for line in part.problems)]
    if not count:
        raise _nothing(source, problems)
    if count >= INDEXED and (written := _write(source, files, parts)) is not None:
        return Indexed(written)
    pictures = list(files.loose)
    for shard, (rows, _) in zip(files.shards, parts, strict=True):
        places = zip(rows.key, rows.caption, rows.offset, rows.size, rows.uncaptioned, strict=True)
        pictures += [Picture(key, caption, files.root / shard.name, offset, size if size >= 0 else None, reason)
                     for key, caption, offset, size, reason in places]  # fmt: skip
    return Found(pictures, problems)


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
    lines = getattr(pictures, "left_out", [])
    return [f"{len(lines)} of the files cannot be used and are left out: {_few(lines)}."] if lines else []


def captioned(pictures: Sequence[Picture]) -> tuple[Sequence[Picture], list[str]]:
    """Those that have a caption; and nothing, or a sentence about the others.

    Raises:
        ValueError: none has, or fewer than half.
    """
    has_caption = are_captioned(pictures)
    chosen, others = np.flatnonzero(has_caption), np.flatnonzero(~has_caption)
    if not len(others):
        return pictures, []
    some = [pictures[number] for number in others[:NAMED].tolist()]
    more = [f"and {len(others) - NAMED} more"] if len(others) > NAMED else []
    without = "; ".join([*(f"{shown(picture.key)}: {picture.uncaptioned}" for picture in some), *more])
    if not len(chosen):
        raise ValueError(
            f"None of the {len(pictures)} pictures has a caption. Put the text for {shown(pictures[0].key)} into a "
            '.txt file of the same name, or into metadata.jsonl: {"file_name": "...", "text": "..."}. Now there is '
            f"{without}."
        )
    if len(chosen) < CAPTIONED * len(pictures):
        raise ValueError(
            f"Only {len(chosen)} of {len(pictures)} pictures have a caption, fewer than half ({without}). Write "
            "the others (an empty .txt file is a caption, too), or give a folder of those pictures only that have one."
        )
    count = f"{len(others)} of {len(pictures)} pictures have no caption and are left out"
    return take(pictures, chosen), [f"{count}: {without}."]


class _Files(NamedTuple):
    """What a set is made of.

    Attributes:
        root: its folder.
        loose: pictures that are files of their own.
        shards: files with pictures in them, which have not been opened.
        problems: what cannot be used.
    """

    root: Path
    loose: list[Picture]
    shards: list[Shard]
    problems: list[str]


class _Part(NamedTuple):
    """Pictures of a shard, and what of it cannot be used."""

    rows: Rows
    problems: list[str]


def _files(source: Path) -> _Files:
    root = source if source.is_dir() else source.parent
    files, problems = files_below(source) if source.is_dir() else ([source], [])
    captions = Captions(files if source.is_dir() else [])
    loose, in_shards = [], []
    for file in files:
        suffix, name = file.suffix.lower(), file.relative_to(root).as_posix()
        is_shard = (suffix in SHARDS or file == source) and name.lower() not in TABLES
        if not is_shard and suffix not in SUFFIXES:
            continue
        if reason := fault(name):
            problems.append(f"{shown(name)}: {reason}; rename it")
        elif is_shard:
            state = file.stat()
            in_shards.append(Shard(name, state.st_size, state.st_mtime_ns))
        else:
            caption, reason = captions.of(file)
            loose.append(Picture(name, caption, file, uncaptioned=reason))
    return _Files(root, sorted(loose, key=lambda picture: picture.key), in_shards, problems)


def _scanned(root: Path, shard: Shard) -> _Part:
    """What is in a shard."""
    file, problems = root / shard.name, []
    try:
        if file.suffix.lower() == ".parquet":
            found = parquet.pictures_in(file)
        else:
            found, problems = shards.pictures_in(file)
    except ValueError as error:
        found, problems = [], [f"{shown(shard.name)} {error}"]
    rows = Rows([], [], [], [], [])
    for key, caption, offset, size, reason in found:
        entry = f"{shard.name}/{key}", caption, offset, -1 if size is None else size, reason
        for column, value in zip(rows, entry, strict=True):
            column.append(value)
    return _Part(rows, problems)


def _is_of(known: Index, files: _Files) -> bool:
    """Whether an index is of these files as they are now. Shards that were damaged are looked at again."""
    if known.shards != files.shards or known.problems[-1] != files.problems:
        return False
    if known.rows_of(-1) != _loose_rows(files):
        return False
    return all(_scanned(files.root, shard) == (known.rows_of(number), known.problems[number])
               for number, shard in enumerate(files.shards) if known.is_damaged(number))  # fmt: skip


def _known(known: Index | None, shard: Shard) -> _Part | None:
    """What an index says of a shard; None if the shard is another one or was damaged."""
    number = known.shards.index(shard) if known is not None and shard in known.shards else None
    if number is None or known.is_damaged(number):
        return None
    return _Part(known.rows_of(number), known.problems[number])


def _write(source: Path, files: _Files, parts: Sequence[_Part]) -> Index | None:
    """Write the index, with the set or on this machine; None where neither can be written to."""
    problems = [*(part.problems for part in parts), files.problems]
    for path in index.candidates(source):
        with contextlib.suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            index.write(path, files.shards, [part.rows for part in parts], _loose_rows(files), problems)
            return Index(path, files.root)
    return None


def _loose_rows(files: _Files) -> Rows:
    count, loose = len(files.loose), files.loose
    captions, reasons = [picture.caption for picture in loose], [picture.uncaptioned for picture in loose]
    return Rows([picture.key for picture in loose], captions, [0] * count, [-1] * count, reasons)


def _nothing(source: Path, problems: Sequence[str]) -> ValueError:
    if problems:
        return ValueError(f"{shown(source)} holds no pictures that can be used: {_few(problems)}.")
    return ValueError(
        f"{shown(source)} holds no pictures: files ending in {', '.join(SUFFIXES)}, or .tar or .parquet shards of "
        "them, are expected."
    )


def _few(lines: Sequence[str]) -> str:
    more = [f"and {len(lines) - NAMED} more"] if len(lines) > NAMED else []
    return "; ".join([*lines[:NAMED], *more])
