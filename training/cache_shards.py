"""Shards of the cache: ``.safetensors`` files of a few GB that hold thousands of entries of one layout.

Every tensor of a shard has a row per entry: ``digest`` ``[n, 20]`` of the entry's name, ``crc32`` ``[n]`` of its
values, and the entry's own, ``latent`` ``[n, C, h, w]`` and so on. A shard is written row by row, so that it takes no
memory, and gets its name when it is complete. It is read row by row, too, and not mapped: a mapped file that is cut off
ends the process that looks at it.
"""

from __future__ import annotations

import contextlib
import json
import logging
import math
import struct
import uuid
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
from pydantic import Field
from torch import Tensor
from typing_extensions import TypedDict

from ..files import parse_json, shown, written_whole

FOLDER = "shards"  # of the cache
SHARD = 2 * 2**30  # bytes, about
DIGEST, CHECKSUM = "digest", "crc32"
NAMES = {
    torch.float16: "F16",
    torch.float32: "F32",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}
OF_ROW = 20 + 8  # bytes of a row beside the entry's own
KINDS = {name: kind for kind, name in NAMES.items()}
HEADER = 2**16  # bytes of a shard's header at most
PIECE = 2**24  # bytes that are moved at once

Layout = tuple[tuple[str, torch.dtype, tuple[int, ...]], ...]  # name, kind and shape of each tensor of an entry


Whole = Annotated[int, Field(ge=0, le=2**50)]


class _Described(TypedDict):
    """A tensor in the header of a shard."""

    dtype: str
    shape: tuple[Whole, ...]
    data_offsets: tuple[Whole, Whole]


class Shards:
    """All shards of a cache, as they were when this was made. They take 16 bytes of memory per entry.

    Args:
        folder: of the cache.
    """

    def __init__(self, folder: Path):
        self._shards: list[_Complete] = []
        parts = []
        for path in sorted((folder / FOLDER).glob("*.safetensors")):
            try:
                shard = _Complete(path)
                parts.append(shard.first_bytes())
            except (OSError, ValueError, LookupError, TypeError) as error:
                logging.warning("%s is damaged; delete it: what it held is made again (%s)", shown(path), shown(error))
                continue
            self._shards.append(shard)
        numbers = [np.arange(len(part), dtype=np.int32) for part in parts]
        owners = [np.full(len(part), number, np.int32) for number, part in enumerate(parts)]
        first_bytes = np.concatenate([np.zeros(0, np.uint64), *parts])
        order = np.argsort(first_bytes, kind="stable")
        self._first_bytes = first_bytes[order]
        self._shard, self._row = (np.concatenate([np.zeros(0, np.int32), *part])[order] for part in (owners, numbers))

    def __len__(self) -> int:
        """Entries."""
        return len(self._row)

    @property
    def names(self) -> list[str]:
        """Of the files."""
        return [shard.path.name for shard in self._shards]

    def has(self, digest: bytes) -> bool:
        return self._place(digest) is not None

    def get(self, digest: bytes) -> tuple[dict[str, Tensor], int, Path] | None:
        """Tensors of an entry, their checksum, and the shard in which they are; no tensors if it is damaged."""
        place = self._place(digest)
        if place is None:
            return None
        shard, row = place
        try:
            content = shard.read(row, shard.tensors)
        except (OSError, ValueError):
            return {}, 0, shard.path
        del content[DIGEST]
        return content, int(content.pop(CHECKSUM)), shard.path

    def _place(self, digest: bytes) -> tuple[_Complete, int] | None:
        wanted = np.frombuffer(digest[:8], np.uint64)[0]
        at = int(np.searchsorted(self._first_bytes, wanted))
        while at < len(self) and self._first_bytes[at] == wanted:
            shard, row = self._shards[self._shard[at]], int(self._row[at])
            with contextlib.suppress(OSError, ValueError):
                if shard.read(row, [DIGEST])[DIGEST].numpy().tobytes() == digest:
                    return shard, row
            at += 1
        return None


class _Complete:
    """A shard that can be read.

    Attributes:
        tensors: kind, shape of a row, and place of the first row in the file, by name.

    Raises:
        OSError: it cannot be read.
        ValueError, LookupError, TypeError: it is no shard, or not as long as it says.
    """

    def __init__(self, path: Path):
        self.path, self.tensors = path, {}
        with path.open("rb") as file:
            beginning = file.read(8)
            (header,) = struct.unpack("<Q", beginning) if len(beginning) == 8 else (HEADER + 1,)
            if header > HEADER:
                raise ValueError("it is no shard")
            described = parse_json(file.read(header), dict[str, _Described], path, HEADER)
        self._count, end = described[DIGEST]["shape"][0], 0
        for name, entry in described.items():
            kind, shape = KINDS[entry["dtype"]], entry["shape"]
            begin, end = entry["data_offsets"]
            if shape[0] != self._count or end - begin != math.prod(shape) * kind.itemsize:
                raise ValueError("its header is damaged")
            self.tensors[name] = kind, shape[1:], 8 + header + begin
        if self._of_row(DIGEST) != (torch.uint8, (20,)) or self._of_row(CHECKSUM) != (torch.int64, ()):
            raise ValueError("it has no digests or checksums")
        if path.stat().st_size != 8 + header + end:
            raise ValueError(f"it has {path.stat().st_size:,} bytes in place of {8 + header + end:,}")

    def _of_row(self, name: str) -> tuple[torch.dtype, tuple[int, ...]]:
        return self.tensors[name][:2]

    def first_bytes(self) -> np.ndarray:
        """``[n]`` the first eight bytes of each entry's digest as a number."""
        start = self.tensors[DIGEST][2]
        digests = np.fromfile(self.path, np.uint8, self._count * 20, offset=start).reshape(self._count, 20)
        return np.ascontiguousarray(digests[:, :8]).view(np.uint64)[:, 0].copy()

    def read(self, row: int, names: Iterable[str]) -> dict[str, Tensor]:
        """Some tensors of an entry.

        Raises:
            OSError, ValueError: the file is gone, or shorter than it was.
        """
        found = {}
        with self.path.open("rb", buffering=0) as file:
            for name in names:
                kind, shape, start = self.tensors[name]
                data = bytearray(math.prod(shape) * kind.itemsize)
                file.seek(start + row * len(data))
                if file.readinto(data) != len(data):
                    raise ValueError(f"{self.path.name} is cut off")
                found[name] = torch.frombuffer(data, dtype=kind).reshape(shape)
        return found


class Writer:
    """Writes entries into new shards, one for each layout at a time.

    Args:
        folder: of the cache.
        most: entries at most that will come.
    """

    def __init__(self, folder: Path, most: int):
        self._folder, self._left = folder / FOLDER, most
        self._open: dict[Layout, _Shard] = {}

    def put(self, digest: bytes, tensors: Mapping[str, Tensor], checksum: int) -> None:
        """Add an entry.

        Raises:
            OSError: it cannot be written.
        """
        entry = {
            DIGEST: torch.frombuffer(bytearray(digest), dtype=torch.uint8),
            CHECKSUM: torch.tensor(checksum),
            **{name: tensors[name] for name in sorted(tensors)},
        }
        layout = tuple((name, tensor.dtype, tuple(tensor.shape)) for name, tensor in entry.items())
        if layout not in self._open:
            self._open[layout] = _Shard(self._folder, layout, max(1, self._left))
        self._left -= 1
        if self._open[layout].add(entry):
            self._open.pop(layout).close()

    def close(self) -> None:
        """Complete the shards that are open; they count from now on.

        Raises:
            OSError: one cannot be written.
        """
        while self._open:
            self._open.popitem()[1].close()


class _Shard:
    """A shard that is being written; it has room for as many entries as it may get, and is made compact at its end."""

    def __init__(self, folder: Path, layout: Layout, most: int):
        self._layout = layout
        self._bytes = [math.prod(shape) * kind.itemsize for _, kind, shape in layout]
        self._capacity, self._count = max(1, min(most, SHARD // sum(self._bytes))), 0
        self._header = len(self._described(self._capacity))
        self._stack = contextlib.ExitStack()
        temporary = self._stack.enter_context(written_whole(folder / f"{uuid.uuid4().hex}.safetensors"))
        self._file = self._stack.enter_context(temporary.open("w+b"))

    def add(self, entry: Mapping[str, Tensor]) -> bool:
        """Whether it is full with this one."""
        for start, size, tensor in zip(self._starts(self._capacity), self._bytes, entry.values(), strict=True):
            self._file.seek(start + self._count * size)
            self._file.write(tensor.contiguous().reshape(-1).view(torch.uint8).numpy())
        self._count += 1
        return self._count == self._capacity

    def close(self) -> None:
        with self._stack:  # which gives it its name, or after an error removes it
            places = zip(self._starts(self._capacity), self._starts(self._count), self._bytes, strict=True)
            for source, target, size in places:
                self._move(source, target, self._count * size)
            self._file.truncate(self._header + self._count * sum(self._bytes))
            self._file.seek(0)
            self._file.write(self._described(self._count).ljust(self._header))

    def _starts(self, count: int) -> list[int]:
        """Where each tensor begins, of a shard with so many entries."""
        return [self._header + count * sum(self._bytes[:number]) for number in range(len(self._bytes))]

    def _described(self, count: int) -> bytes:
        """The header of a ``.safetensors`` file, to be padded with blanks at its end."""
        described, start = {}, 0
        for (name, kind, shape), size in zip(self._layout, self._bytes, strict=True):
            end = start + count * size
            described[name] = {"dtype": NAMES[kind], "shape": [count, *shape], "data_offsets": [start, end]}
            start = end
        text = json.dumps(described).encode()
        room = self._header - 8 if hasattr(self, "_header") else -(-len(text) // 8) * 8
        return struct.pack("<Q", room) + text.ljust(room)

    def _move(self, source: int, target: int, size: int) -> None:
        """Towards the beginning of the file."""
        for done in range(0, size if source != target else 0, PIECE):
            self._file.seek(source + done)
            data = self._file.read(min(PIECE, size - done))
            self._file.seek(target + done)
            self._file.write(data)
