"""The tensors of torch's own files: zipped, legacy, TorchScript.

Beside a pickle (:mod:`.torch_pickle`) they hold the tensors' bytes. Tensors are made last, as views of the mapped file,
after what was declared has been compared with it. Beside the mapped file a reading takes at most 64 MB.
"""

from __future__ import annotations

import math
import mmap
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping

import torch
from torch import Tensor

from .torch_pickle import DEPTH, LONGEST_NAME, Limits, Module, Name, Refused, Storage, Stream, View, damaged, run

MAGIC, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001  # torch.serialization's marks of a legacy file


def read_torch_file(data: mmap.mmap, mapped: bool) -> object:
    """Content of a file that ``torch.save`` or ``torch.jit.save`` wrote: tensors in dicts, lists and tuples.

    Of a TorchScript archive it is a flat dict of every tensor by its dotted path: parameters, buffers and tensor
    attributes. Numbers, text and None are kept; what else a checkpoint may hold besides (sets, NumPy scalars, devices)
    becomes None.

    Args:
        data: mapped copy-on-write.
        mapped: let tensors lie in ``data``, where they can; else none does.

    Raises:
        Refused: the file is incomplete, has code in it, or asks for more than a file of its size may.
    """
    try:
        if data[:2] == b"PK":
            return _read_zip(data, mapped)
        return _read_legacy(data, mapped)
    except Refused:
        raise
    except (ArithmeticError, AttributeError, EOFError, LookupError, TypeError, ValueError, RuntimeError, struct.error,
            zipfile.BadZipFile, zlib.error) as error:  # fmt: skip
        # RuntimeError covers RecursionError, and NotImplementedError, by which zipfile refuses kinds of compression
        raise damaged("it is no complete file of torch") from error


def flat_tensors(content: object) -> dict[str, Tensor]:
    """The tensors in nested dicts by their keys joined with points."""
    return dict(_flat(content, "")) if isinstance(content, Mapping) else {}


def _flat(mapping: Mapping, prefix: str) -> Iterator[tuple[str, Tensor]]:
    for key, value in mapping.items():
        if isinstance(value, Tensor):
            yield f"{prefix}{key}", value
        elif isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")


def _read_zip(data: mmap.mmap, mapped: bool) -> object:
    limits = Limits(len(data))
    archive = zipfile.ZipFile(Stream(data, limits.piece))
    members = {info.filename: info for info in archive.infolist()}
    roots = [name.removesuffix("data.pkl") for name in members if name.split("/", 1)[-1] == "data.pkl"]
    if not roots:
        raise Refused("is a zip archive without tensors, so it is something else. Get the right file of that name.")
    root = roots[0]

    def beginning(name: str, count: int) -> bytes:
        """Not more than ``count`` bytes of a member, whatever it unfolds to."""
        if members[root + name].compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise damaged("torch compresses in another way")
        with archive.open(root + name) as file:
            return file.read(count)

    if f"{root}byteorder" in members and beginning("byteorder", 6) != b"little":
        raise Refused("was written on a big-endian machine. Save it again on a common one.")

    def place(storage: Storage) -> tuple[int, int]:
        info = members[f"{root}data/{storage.key}"]
        if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1:
            raise Refused("holds compressed tensors, which torch never writes. Get it again, or save it with torch.")
        start = info.header_offset
        if data[start : start + 4] != b"PK\3\4":
            raise damaged("a tensor is not where the archive says")
        name, extra = struct.unpack_from("<HH", data, start + 26)
        return start + 30 + name + extra, info.file_size

    content = run(Stream(beginning("data.pkl", limits.program + 1), limits.piece), limits)
    if f"{root}constants.pkl" in members:
        return flat_tensors(_Tree(data, mapped, place, lambda value: type(value) is Module).of(content))
    return _Tree(data, mapped, place).of(content)


def _read_legacy(data: mmap.mmap, mapped: bool) -> object:
    limits = Limits(len(data))
    stream = Stream(data, limits.piece)
    if run(stream, limits) != MAGIC:
        raise Refused("is a pickle, but none that torch wrote. Get a .safetensors or plain state-dict version of it.")
    if run(stream, limits) != PROTOCOL or run(stream, limits).get("little_endian") is not True:
        raise Refused("was written on a big-endian machine or by an unknown torch. Save it again with this one.")
    content = run(stream, limits)
    begins = {}  # of each storage; only the views say how many bytes its elements have
    sizes = {storage.key: storage.dtype.itemsize for storage in _storages(content)}
    for key in run(stream, limits):
        if type(key) is not str:
            raise TypeError
        (count,) = struct.unpack("<q", stream.read(8))
        begins[key] = stream.tell(), count * sizes.get(key, 0)
        if stream.seek(count * sizes.get(key, 0), 1) > len(data):
            raise damaged("it is shorter than its tensors")
    return _Tree(data, mapped, lambda storage: begins[storage.key]).of(content)


def _storages(content: object) -> Iterator[Storage]:
    """Of all views in the content, each object visited once."""
    seen: set[int] = set()
    left = [content]
    while left:
        value = left.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, View):
            yield value.storage
        elif isinstance(value, dict):
            left += value.values()
        elif isinstance(value, (list, tuple)):
            left += value


class _Tree:
    """Content with a tensor for every view: a tree, so that what is walked later ends.

    A class, since functions that call themselves hold what is around them, here the mapped file, until Python looks for
    circles.

    Args:
        place: where the bytes of a storage begin in ``data``, and how many there are.
        wanted: whether to go into a dict, list or tuple.
    """

    def __init__(
        self,
        data: mmap.mmap,
        mapped: bool,
        place: Callable[[Storage], tuple[int, int]],
        wanted: Callable[[object], bool] = lambda value: True,
    ):
        self.data, self.mapped, self.place, self.wanted = data, mapped, place, wanted
        self.limits = Limits(len(data))
        self.parts = self.containers = self.taken = 0
        self.storages: dict[Storage, Tensor] = {}
        self.unaligned: set[Storage] = set()
        self.tensors: dict[int, Tensor] = {}

    def of(self, value: object, depth: int = 0, length: int = 0) -> object:
        limits = self.limits
        self.parts += 1
        self.containers += isinstance(value, (dict, list, tuple, View))
        too_many = self.parts > limits.parts or self.containers > limits.containers
        if depth > DEPTH or length > LONGEST_NAME or too_many:
            raise Refused(
                f"is no file of tensors: it goes round in a circle, or has more than {limits.containers:,} parts, or "
                f"parts that are nested more than {DEPTH} deep or have endless names."
            )
        if isinstance(value, View):
            return self._tensor(value)
        if isinstance(value, (dict, list, tuple)) and not self.wanted(value):
            return None
        if isinstance(value, dict):
            return {key: self.of(item, depth + 1, length + len(str(key)) + 1) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return type(value)([self.of(item, depth + 1, length) for item in value])
        if isinstance(value, Name):
            return value.full
        return None if isinstance(value, Storage) else value

    def _tensor(self, view: View) -> Tensor:
        """One for all its names: a view with many would take as often its bytes."""
        if id(view) not in self.tensors:
            self._take(math.prod(view.size) * view.storage.dtype.itemsize)
            tensor = torch.as_strided(self._flat(view.storage), view.size, view.stride, view.offset)
            self.tensors[id(view)] = tensor if self.mapped or view.storage in self.unaligned else tensor.clone()
        return self.tensors[id(view)]

    def _flat(self, storage: Storage) -> Tensor:
        if storage not in self.storages:
            (begin, available), length = self.place(storage), storage.count * storage.dtype.itemsize
            if length > available or begin + length > len(self.data):
                raise damaged("it is shorter than its tensors")
            if not length:
                flat = torch.empty(0, dtype=storage.dtype)
            elif begin % storage.dtype.itemsize:  # in legacy files; processors want whole addresses, so it is copied
                self._take(length)
                self.unaligned.add(storage)
                content = bytearray(memoryview(self.data)[begin : begin + length])
                flat = torch.frombuffer(content, dtype=storage.dtype)
            else:
                flat = torch.frombuffer(self.data, dtype=storage.dtype, count=storage.count, offset=begin)
            self.storages[storage] = flat
        return self.storages[storage]

    def _take(self, count: int) -> None:
        self.taken += count
        if self.taken > self.limits.tensors:
            raise damaged(f"its tensors would take more than {self.limits.tensors:,} bytes")
