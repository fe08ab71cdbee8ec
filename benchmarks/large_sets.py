"""Sets of millions of pictures for ``benchmarks.data``: shards that are holes, with a true index and a true table.

Nothing but the pixels is missing: shards have the bytes and times that the index says, and take no room on the disk.
"""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from iqa_adapter.pictures import index
from iqa_adapter.training.digests import Digests
from iqa_adapter.training.pictures_seen import Seen
from iqa_adapter.training.rows import Rows
from iqa_adapter.training.table import Contents
from iqa_adapter.training.table_statistics import measure

METRICS = ("topiq_nr", "laion_aes")
IN_SHARD, IN_PART = 10_000, 100_000  # pictures of a shard, as img2dataset writes them; rows of a part of the table
SIZE, ROOM = 50_000, 52_224  # bytes of a picture, and what it takes in the archive with its caption
CAPTION = "a photo of thing number {} with {} birds, seen from afar on a cloudy day in the hills"


def write_holes(folder: Path, count: int) -> None:
    """A set of ``count`` pictures with its index."""
    folder.mkdir(parents=True)
    shards, parts = [], []
    for number in range(-(-count // IN_SHARD)):
        chosen = range(number * IN_SHARD, min(count, (number + 1) * IN_SHARD))
        path = folder / f"{number:05d}.tar"
        path.touch()
        os.truncate(path, len(chosen) * ROOM)
        shards.append(index.Shard(path.name, path.stat().st_size, path.stat().st_mtime_ns))
        offsets = [place * ROOM + 1536 for place in range(len(chosen))]
        keys = [f"{path.name}/{picture:09d}" for picture in chosen]
        captions = [CAPTION.format(picture, picture * 7919 % 1000) for picture in chosen]
        parts.append(index.Rows(keys, captions, offsets, [SIZE] * len(chosen), [""] * len(chosen)))
    index.write(
        folder / index.NAME, shards, parts, index.Rows([], [], [], [], []), [[] for _ in range(len(shards) + 1)]
    )


def write_table(pictures, folder: Path) -> None:
    """Scores of a set, drawn at random."""
    contents, random = Contents("score", METRICS, "512"), np.random.default_rng(0)
    contents.write(folder)
    from iqa_adapter.pictures.found import keys, places

    where, names = places(pictures), [key for part in keys(pictures) for key in part]
    for number, start in enumerate(range(0, len(names), IN_PART)):
        part = names[start : start + IN_PART]
        sizes = torch.from_numpy(random.integers(300, 1200, (len(part), 2)))
        seen = Seen(
            where[start : start + IN_PART], Digests(random.integers(1, 2**63, (len(part), 2)).astype(np.uint64))
        )
        Rows(part, sizes, torch.from_numpy(random.random((len(part), 2), np.float32)), seen).write(
            folder, number, contents
        )
    measure(folder)


def write_shards(folder: Path, count: int) -> None:
    """Archives of ``count`` members of 512 bytes with captions, which nobody decodes."""
    folder.mkdir(parents=True)
    for number in range(-(-count // IN_SHARD)):
        with tarfile.open(folder / f"{number:05d}.tar", "w") as archive:
            for picture in range(number * IN_SHARD, min(count, (number + 1) * IN_SHARD)):
                _add(archive, f"{picture:09d}.jpg", bytes(512))
                _add(archive, f"{picture:09d}.txt", CAPTION.format(picture, picture * 7919 % 1000).encode())


def write_pictures(folder: Path, count: int, side: int) -> dict[str, Path]:
    """The same JPEG pictures as loose files, in an archive, and in Parquet as ``datasets`` writes it."""
    import pyarrow
    import pyarrow.parquet as parquet

    places = {name: folder / name for name in ("folder", "tar", "Parquet")}
    for place in places.values():
        place.mkdir(parents=True)
    pictures = list(_jpegs(count, side))
    for number, data in enumerate(pictures):
        (places["folder"] / f"{number:05d}.jpg").write_bytes(data)
        (places["folder"] / f"{number:05d}.txt").write_text(CAPTION.format(number, number))
    with tarfile.open(places["tar"] / "0.tar", "w") as archive:
        for number, data in enumerate(pictures):
            _add(archive, f"{number:05d}.jpg", data)
            _add(archive, f"{number:05d}.txt", CAPTION.format(number, number).encode())
    rows = {"image": [{"bytes": data, "path": None} for data in pictures],
            "text": [CAPTION.format(number, number) for number in range(count)]}  # fmt: skip
    parquet.write_table(pyarrow.table(rows), places["Parquet"] / "0.parquet", row_group_size=100)
    return places


def forget(folder: Path) -> None:
    """Ask the system to forget what it keeps of these files, so that they are read from the disk."""
    for path in folder.rglob("*"):
        if path.is_file() and hasattr(os, "posix_fadvise"):
            with path.open("rb") as file:
                os.fsync(file.fileno())
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def _jpegs(count: int, side: int) -> Iterator[bytes]:
    random = np.random.default_rng(0)
    small = Image.fromarray(random.integers(0, 256, (40, 60 + count, 3), dtype=np.uint8))
    large = small.resize(((60 + count) * side // 40, side), Image.Resampling.BICUBIC)
    for number in range(count):
        stored = io.BytesIO()
        large.crop((number * side // 40, 0, number * side // 40 + side * 3 // 2, side)).save(stored, "JPEG", quality=90)
        yield stored.getvalue()


def _add(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    archive.addfile(member, io.BytesIO(data))
