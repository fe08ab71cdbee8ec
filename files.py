"""Files that are written whole or not at all, and strangers' files that are read while nothing in them runs."""

from __future__ import annotations

import contextlib
import json
import mmap
import os
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, NamedTuple, TypeVar

import torch
from pydantic import AfterValidator, Field, TypeAdapter, ValidationError
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor, nn
from typing_extensions import Self

from .left_behind import new_temporary, remove, remove_left_behind
from .printable import one_line, shown
from .safetensors_files import read_safetensors
from .tensor_files import read_torch_file
from .torch_pickle import Refused
from .wrong_files import something_else

SMALL = 2**28  # bytes of a file that is copied into memory: one that is mapped must stay as it is while it is in use
JSON = 2 * 2**20  # bytes; mean and standard deviation of 8,192 activations take 0.4 million

T = TypeVar("T")
_ADAPTERS: dict[object, TypeAdapter] = {}  # by type; they take longer to make than most texts to read
Finite = Annotated[float, Field(strict=True, allow_inf_nan=False)]  # types for :func:`parse_json`
Positive = Annotated[float, Field(strict=True, gt=0, allow_inf_nan=False)]
Text = Annotated[str, Field(strict=True, max_length=1000), AfterValidator(one_line)]
Digest = Annotated[str, Field(strict=True, pattern=r"^[0-9a-f]{64}$")]  # SHA-256


# Writing


@contextlib.contextmanager
def written_whole(path: str | Path) -> Iterator[Path]:
    """A temporary path beside ``path``; what was written there takes its place when the block ends well.

    Processes and machines that write the same file at once do not meet: every one has a temporary folder of its own,
    and the last one to finish wins. What killed processes left in the folder is removed, see :mod:`.left_behind`.

    Yields:
        A path on the same disk, where nothing is yet.

    Raises:
        OSError: the file cannot be written, for example because the disk is full; one that was there is kept.
    """
    path = Path(path)
    folder = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        remove_left_behind(path.parent)
        folder = new_temporary(path)
        temporary = folder / "new"  # without an ending, so that no list of files shows it
        yield temporary
        os.chmod(temporary, 0o666 & ~_UMASK)  # some libraries let nobody else read
        put_in_place(temporary, path)
    except OSError as error:
        raise OSError(
            f"{shown(path)} could not be written ({shown(error.strerror or error)}); what was there is kept. Make room "
            "on the disk, or choose a folder that can be written to, and try again."
        ) from error
    finally:
        if folder is not None:
            remove(folder)


def put_in_place(complete: Path, path: Path) -> None:
    """Give a complete file its name; what has the name is replaced at once, seen by no reader half."""
    os.replace(complete, path)


def write_text(path: str | Path, text: str) -> None:
    """UTF-8; half characters, as in names that are not UTF-8, become ``?``."""
    with written_whole(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="replace")


def write_json(path: str | Path, content: object) -> None:
    """Indented JSON."""
    write_text(path, json.dumps(content, indent=1))


def write_tensors(path: str | Path, tensors: Mapping[str, Tensor], header: Mapping[str, str] | None = None) -> None:
    """A ``.safetensors`` file."""
    with written_whole(path) as temporary, _full_disk(SafetensorError):
        contiguous = {name: tensor.detach().contiguous() for name, tensor in tensors.items()}
        save_file(contiguous, temporary, None if header is None else dict(header))


def write_torch(path: str | Path, content: object, keep: Path | None = None) -> None:
    """A file of ``torch.save``: tensors, numbers and texts in dicts and lists, see :func:`read_tensors`.

    Args:
        keep: name that the file which was there gets.
    """
    with written_whole(path) as temporary:
        with _full_disk(RuntimeError), temporary.open("wb") as file:
            torch.save(content, file)  # given a path it would write the temporary name into the file
        if keep is not None and Path(path).is_file():
            put_in_place(Path(path), keep)


@contextlib.contextmanager
def _full_disk(kind: type[Exception]) -> Iterator[None]:
    """Writers that have another exception than OSError for it."""
    try:
        yield
    except kind as error:
        raise OSError(str(error).splitlines()[0]) from error


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


_UMASK = _umask()


# Reading


class WrongFile(ValueError):
    """A file that cannot be read or is not what it should be; the message names it, says why, and what to do."""


class TensorFile(NamedTuple):
    """What a file of tensors holds.

    Attributes:
        content: tensors on the CPU; in a dict by name, or nested in dicts, lists and tuples beside numbers, texts and
            None, as ``torch.save`` got them.
        header: texts by name in the header of a ``.safetensors`` file.
    """

    content: object
    header: dict[str, str]


@dataclass(frozen=True)
class FileState:
    """A file as it was when it was read.

    Attributes:
        path: where it is.
        size, time: bytes, and when it was last written, in nanoseconds.
    """

    path: Path
    size: int
    time: int

    @classmethod
    def at(cls, path: Path) -> Self:
        state = path.stat()
        return cls(path, state.st_size, state.st_mtime_ns)

    def check(self) -> None:
        """Raises:
            WrongFile: it is gone, or another one is in its place.
        """  # fmt: skip
        if not self.path.is_file() or type(self).at(self.path) != self:
            raise WrongFile(f"{shown(self.path)} has changed since it was loaded. Load it again.")


def read_tensors(path: str | Path, mapped: bool | None = None) -> TensorFile:
    """Read ``.safetensors``, or what ``torch.save`` (zipped or legacy) or ``torch.jit.save`` wrote, told by content.

    Nothing in a file runs, and reading takes at most 64 MB beside the file, whatever it says about itself. Of a
    TorchScript archive the tensors are taken, by dotted path.

    Args:
        mapped: leave the tensors in the file, mapped, which must stay as it is while they are in use; else copy them
            into memory. None: files above ``SMALL`` are mapped.

    Raises:
        FileNotFoundError: no such file.
        WrongFile: the file is damaged, has code in it, or is something else. One sentence that says which.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"There is no file {shown(path)}.")
    size = path.stat().st_size
    try:
        return _read(path, size, size > SMALL if mapped is None else mapped)
    except Refused as refused:
        raise WrongFile(f"{shown(path)} ({size} bytes) {refused}") from refused


def _read(path: Path, size: int, mapped: bool) -> TensorFile:
    with path.open("rb") as file:
        beginning = file.read(1024)
        (header,) = struct.unpack("<Q", beginning[:8]) if len(beginning) > 8 else (0,)
        if beginning[8:9] == b"{" and header < 2**40:
            return TensorFile(*read_safetensors(path, min(header, size), mapped))
        if path.suffix == ".safetensors" or (beginning[:4] != b"PK\3\4" and beginning[:1] != b"\x80"):
            raise something_else(beginning)
        return TensorFile(read_torch_file(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY), mapped), {})


def read_json(path: str | Path, kind: type[T]) -> T:
    """Content of a JSON file; see :func:`parse_json`.

    Raises:
        OSError: it cannot be read.
        WrongFile: see there.
    """
    with Path(path).open("rb") as file:
        return parse_json(file.read(JSON + 1), kind, path)


def parse_json(text: str | bytes, kind: type[T], origin: object, most: int = JSON) -> T:
    """JSON text -> dataclass, TypedDict, list or whatever type there is, compared with it in full.

    Types are strict (1 is no text, "yes" no truth value), numbers as finite as ``kind`` says (:data:`Finite`), and
    fields that it does not know are left out, so that later versions may add some.

    Args:
        origin: where the text comes from, for messages.
        most: bytes that it may have.

    Raises:
        WrongFile: the text is no JSON, endless, or not of that type.
    """
    if len(text) > most:
        raise WrongFile(f"{shown(origin)} has {len(text):,} bytes, more than such a text can have. Get the right one.")
    try:
        if kind not in _ADAPTERS:
            _ADAPTERS[kind] = TypeAdapter(kind)
        return _ADAPTERS[kind].validate_json(text, strict=True)
    except ValidationError as error:
        raise WrongFile(f"{shown(origin)} cannot be understood: {_reason(error)}. Get it again.") from error


def _reason(error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    where = ".".join(map(str, first["loc"]))
    if first["type"] == "value_error":  # of a dataclass that compares its fields, or of a text
        reason = str(first["ctx"]["error"]).rstrip(".")
        return shown(f"{where}: {reason}" if where else reason)
    return shown(f"{where}: {first['msg']}" if where else first["msg"])


def fill(module: nn.Module, tensors: Mapping[str, Tensor], path: str | Path, assign: bool = False) -> None:
    """``module.load_state_dict`` of a file's tensors.

    Raises:
        WrongFile: they are of another module; the message names the file.
    """
    try:
        module.load_state_dict(tensors, assign=assign)
    except (RuntimeError, AttributeError, TypeError) as error:
        reason = " ".join(str(error).split())
        raise WrongFile(f"{shown(path)} holds weights of something else: {shown(reason)}") from error
