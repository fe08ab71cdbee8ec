"""What the pickle of a torch file describes, found out without an unpickler.

A pickle is a program that may call anything. Python's and torch's unpicklers run it on real objects: functions get new
defaults, tensors are written to, memory is taken as the file wishes. Here the program only builds descriptions
(:class:`Name`, :class:`Storage`, :class:`View`) in dicts, lists and tuples that are ours; nothing is looked up or
called, and every step is counted.
"""

from __future__ import annotations

import math
import mmap
import pickletools
from collections.abc import Callable
from dataclasses import dataclass

import torch

DEPTH = 64  # of nested dicts and lists, and dimensions of a tensor; published training states are nested 4 deep
LONGEST_NAME = 500  # characters, keys of nested dicts joined

STORAGES = {
    "torch.DoubleStorage": torch.float64,
    "torch.FloatStorage": torch.float32,
    "torch.HalfStorage": torch.float16,
    "torch.BFloat16Storage": torch.bfloat16,
    "torch.LongStorage": torch.int64,
    "torch.IntStorage": torch.int32,
    "torch.ShortStorage": torch.int16,
    "torch.CharStorage": torch.int8,
    "torch.ByteStorage": torch.uint8,
    "torch.BoolStorage": torch.bool,
    "torch.storage.UntypedStorage": torch.uint8,
}
DTYPES = {str(value): value for value in vars(torch).values() if isinstance(value, torch.dtype)}


class Refused(ValueError):
    """Why a file cannot be read; the message goes on after the file's name: ``is ...``."""


def damaged(reason: str) -> Refused:
    return Refused(f"is truncated or damaged: {reason}. Delete it, and get it again.")


class Limits:
    """What a file of ``size`` bytes may ask for: far more than published files need, within 64 MB beside the file."""

    def __init__(self, size: int):
        self.operations = 250_000 + size // 200  # of the pickle, and entries that they copy; a tensor takes about 30
        self.program = 4 * 2**20 + size // 100  # bytes of the pickle
        self.piece = 2 * 2**20 + size // 100  # bytes read at once: a text, or the table of contents of a zip
        self.parts = 250_000 + size // 400  # entries of all dicts and lists, counted as often as they are reached
        self.containers = 40_000 + size // 2000  # dicts, lists, tuples and tensors among the parts
        self.tensors = 2 * size + 2**16  # bytes of all tensors together: each byte of the file may be in two


@dataclass(frozen=True)
class Name:
    """A class or function that the pickle names."""

    __slots__ = ("full",)
    full: str


@dataclass(frozen=True)
class Storage:
    """Bytes in the file, by their key."""

    __slots__ = ("count", "dtype", "key")
    key: str
    dtype: torch.dtype
    count: int


@dataclass(frozen=True, eq=False)
class View:
    """A tensor: a shape laid over a storage; strides and offset in elements."""

    __slots__ = ("offset", "size", "storage", "stride")
    storage: Storage
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]


class Module(dict):
    """A module of a TorchScript archive: its attributes."""


class Stream:
    """A mapped file as ``pickletools`` and ``zipfile`` read it, in pieces of a bounded size."""

    def __init__(self, data: mmap.mmap | bytes, largest: int):
        self.data, self.largest, self.position = data, largest, 0

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.position

    def seek(self, offset: int, whence: int = 0) -> int:
        position = offset + (0, self.position, len(self.data))[whence]
        if position < 0:
            raise ValueError("before the beginning")
        self.position = position
        return position

    def read(self, count: int = -1) -> bytes:
        left = max(0, len(self.data) - self.position)
        count = left if count < 0 else count
        if min(count, left) > self.largest:
            raise Refused(f"is no file of tensors: {count:,} bytes lie where a name or a list of names belongs.")
        piece = self.data[self.position : self.position + count]
        self.position += len(piece)
        return piece

    def readline(self) -> bytes:
        end = self.data.find(b"\n", self.position, self.position + self.largest)
        return self.read(end + 1 - self.position if end >= 0 else self.largest + 1)


def _view(storage: Storage, offset: int, size: tuple, stride: tuple, *_) -> View:
    """``torch._utils._rebuild_tensor_v2``"""
    if type(storage) is not Storage or type(offset) is not int or type(size) is not tuple or type(stride) is not tuple:
        raise TypeError
    if len(size) != len(stride) or len(size) > DEPTH or not all(type(value) is int for value in (*size, *stride)):
        raise TypeError
    if min((offset, *size, *stride)) < 0 or math.prod(max(1, value) for value in size) >= 2**62:
        raise damaged("a tensor has an impossible shape")
    count = math.prod(size)
    last = offset + sum((length - 1) * step for length, step in zip(size, stride, strict=True))
    if count and (count > storage.count or last >= storage.count):
        raise damaged(f"a tensor of shape {size} has {count:,} values, and the file holds {storage.count:,} for it")
    return View(storage, offset if count else 0, size, stride)


def _view_of_bytes(storage: Storage, offset: int, size: tuple, stride: tuple, _grad, _hooks, dtype: Name, *_) -> View:
    """``torch._utils._rebuild_tensor_v3``: for number formats without a storage class of their own."""
    kind = DTYPES[dtype.full]
    return _view(Storage(storage.key, kind, storage.count // kind.itemsize), offset, size, stride)


def _pairs(items: list | dict = (), *_) -> dict:
    """``OrderedDict`` of pairs, as Python 2 writes it, ``OrderedDict`` of nothing, and ``Counter`` of a dict."""
    return {_key(key): value for key, value in (items.items() if isinstance(items, dict) else items)}


def _key(key: object) -> str | int:
    if type(key) is str and len(key) <= LONGEST_NAME:
        return key
    if type(key) is int and abs(key) < 2**60:  # within that no two have the same hash
        return key
    raise damaged("a key is neither a short text nor a number")


def _first(value: object = None, *_) -> object:
    return value


CALLS: dict[str, Callable] = {
    "torch._utils._rebuild_tensor_v2": _view,
    "torch._utils._rebuild_tensor": _view,
    "torch._utils._rebuild_tensor_v3": _view_of_bytes,
    "torch._utils._rebuild_parameter": _first,
    "torch._utils._rebuild_parameter_with_state": _first,
    "torch.nn.parameter.Parameter": _first,
    "torch.jit._pickle.restore_type_tag": _first,
    **{f"torch.jit._pickle.build_{kind}list": _first for kind in ("int", "tensor", "double", "bool")},
    "torch.Size": _first,
    "collections.OrderedDict": _pairs,
    "collections.Counter": _pairs,
    "collections.defaultdict": lambda *_: {},
    **dict.fromkeys(
        ("torch.device", "_codecs.encode", "builtins.set", "__builtin__.set", "builtins.complex", "builtins.bytearray",
         "numpy.dtype", "numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar"),
        lambda *_: None,
    ),
}  # fmt: skip
KNOWN = {*CALLS, *STORAGES, *DTYPES}

CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
VALUES = {
    "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT", "STRING", "BINSTRING",
    "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "BINBYTES", "SHORT_BINBYTES",
    "BINBYTES8",
}  # fmt: skip
EMPTY = {"EMPTY_DICT": dict, "EMPTY_LIST": list, "EMPTY_TUPLE": tuple}
TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


def _named(full: str) -> Name:
    if full not in KNOWN and not full.startswith("__torch__."):
        raise Refused(
            f"is a pickle with code in it ({_ascii(full)} has no place among tensors), so it was refused "
            "and was not opened further. Get a .safetensors or plain state-dict version of it."
        )
    return Name(full)


def _ascii(full: str) -> str:
    return ascii(full[:200])[1:-1]


def run(stream: Stream, limits: Limits) -> object:
    """What one pickle describes, in dicts, lists, tuples, numbers, texts and the classes of this module.

    Raises:
        Refused: it names code, or goes beyond the limits.
        ArithmeticError, LookupError, TypeError, ValueError: it makes no sense.
    """
    begin, stack, marks, memo = stream.tell(), [], [], {}

    def to_mark() -> list:
        nonlocal stack
        items, stack = stack, marks.pop()
        return items

    spent = 0
    for opcode, argument, _ in pickletools.genops(stream):
        spent += 1
        if spent > limits.operations or stream.tell() - begin > limits.program:
            raise Refused(f"is no file of tensors: its pickle goes on beyond {limits.operations:,} operations.")
        name = opcode.name
        if name in VALUES:
            if type(argument) is int and not -(2**127) <= argument < 2**127:
                raise OverflowError
            stack.append(argument)
        elif name in CONSTANTS:
            stack.append(CONSTANTS[name])
        elif name in EMPTY:
            stack.append(EMPTY[name]())
        elif name in ("BINPUT", "LONG_BINPUT", "PUT"):
            if argument >= 2**32:
                raise OverflowError
            memo[argument] = stack[-1]
        elif name == "MEMOIZE":
            memo[len(memo)] = stack[-1]
        elif name in ("BINGET", "LONG_BINGET", "GET"):
            stack.append(memo[argument])
        elif name == "MARK":
            marks.append(stack)
            stack = []
        elif name in TUPLES:
            stack[-TUPLES[name] :] = [tuple(stack[-TUPLES[name] :])]
        elif name in ("TUPLE", "LIST"):
            items = to_mark()
            stack.append(tuple(items) if name == "TUPLE" else items)
        elif name in ("APPEND", "APPENDS"):
            items = [stack.pop()] if name == "APPEND" else to_mark()
            _expect(stack[-1], list).extend(items)
        elif name in ("SETITEM", "SETITEMS", "DICT"):
            items = [stack.pop(-2), stack.pop()] if name == "SETITEM" else to_mark()
            if name == "DICT":
                stack.append({})
            _expect(stack[-1], dict).update(_pairs(list(zip(items[::2], items[1::2], strict=True))))
        elif name == "GLOBAL":
            stack.append(_named(argument.replace(" ", ".")))
        elif name == "STACK_GLOBAL":
            attribute, module = _expect(stack.pop(), str), _expect(stack.pop(), str)
            stack.append(_named(f"{module}.{attribute}"))
        elif name in ("REDUCE", "NEWOBJ"):
            arguments, called = _expect(stack.pop(), tuple), _expect(stack.pop(), Name).full
            spent += sum(len(value) for value in arguments if isinstance(value, (dict, list)))
            stack.append(Module() if called.startswith("__torch__.") else CALLS[called](*arguments))
        elif name == "BUILD":
            state = stack.pop()
            if type(stack[-1]) is Module and type(state) is dict:
                spent += len(state)
                stack[-1].update(state)
            elif type(stack[-1]) is Name:
                raise Refused(
                    f"is a pickle that would change {_ascii(stack[-1].full)}, so it was refused and was not opened "
                    "further. Delete it."
                )
        elif name == "BINPERSID":
            stack.append(_storage(stack.pop()))
        elif name in ("POP", "POP_MARK"):
            to_mark() if name == "POP_MARK" else stack.pop()
        elif name == "STOP":
            return stack.pop()
        elif name not in ("PROTO", "FRAME"):
            raise Refused(f"is no file of tensors: its pickle has the operation {name}.")
    raise EOFError


def _expect(value: object, kind: type) -> object:
    if not isinstance(value, kind):
        raise TypeError
    return value


def _storage(reference: tuple) -> Storage:
    """Of a persistent id ``("storage", class, key, device, number of elements)``; legacy files add a view, or None."""
    word, kind, key, _, count, *view = reference
    if word != "storage" or type(key) not in (str, int) or type(count) is not int or count < 0 or any(view):
        raise TypeError
    return Storage(str(key), STORAGES[kind.full], count)
