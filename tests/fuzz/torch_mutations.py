"""Changes of files that torch wrote: what they hold, the operations of their pickle, their archive, their bytes."""

from __future__ import annotations

import itertools
import pickle
import pickletools
import struct
import zipfile
from collections.abc import Mapping
from io import BytesIO
from random import Random

import hostile_files
import torch

from .mutations import TEXTS, raw, shape, tensors, tree, value

SHARED = torch.ones(2**16)  # 256 kB


def torch_file(rng: Random, content: object, script: bool = False) -> bytes:
    """What ``torch.save`` writes, zipped or legacy, or a TorchScript archive: other content, operations or bytes."""
    what = rng.randrange(10)
    if what in (3, 4) and isinstance(content, dict):
        return built(rng, [key for key in content if isinstance(key, str)], script)
    if what < 3 and isinstance(content, dict) and rng.random() < 0.2:
        content = content | shared(rng)
    elif what < 3 and isinstance(content, dict):
        flat = all(isinstance(item, torch.Tensor) for item in content.values())
        content = tensors(rng, content) if flat and rng.random() < 0.7 else tree(rng, content, piece)
    new = script or rng.random() < 0.6
    try:
        data = hostile_files.saved(content, new)
    except (RuntimeError, ValueError, pickle.PicklingError):
        return hostile_files.saved(content if content is None else {}, new)
    if script and what < 9:
        data = _as_script(data)
    if what < 3:
        return data
    if what == 9:
        return raw(rng, data)
    return _zip_with_other_program(rng, data) if new else _legacy_with_other_program(rng, data)


def shared(rng: Random) -> dict[str, torch.Tensor]:
    """Many names of one tensor, or many tensors that are the same bytes: up to 100 MB, which lie in a file once."""
    view = rng.random() < 0.5
    return {str(number): SHARED[:] if view else SHARED for number in range(rng.choice((2, 400)))}


def piece(rng: Random) -> object:
    """For nested content: a tensor, or something else."""
    return torch.ones(shape(rng, (2, 3))) if rng.random() < 0.5 else value(rng)


def _as_script(data: bytes) -> bytes:
    """A module whose attributes are the dict of a file of ``torch.save``."""
    members = _members(data)
    program = next(name for name in members if name.endswith("data.pkl"))
    body = members[program][2:-1]
    members[program] = hostile_files.program(hostile_files.SCRIPT + body + b"b")
    members[program.replace("data.pkl", "constants.pkl")] = hostile_files.program(b")")
    return _zipped(members)


def _zip_with_other_program(rng: Random, data: bytes) -> bytes:
    members = _members(data)
    program = next(name for name in members if name.endswith("data.pkl"))
    what = rng.randrange(12)
    if what == 0:
        name = rng.choice(list(members))
        del members[name]
    elif what == 1:
        members[rng.choice(list(members))] = rng.choice((b"", b"N.", rng.randbytes(40)))
    elif what == 2:
        return _zipped(members, zipfile.ZIP_DEFLATED)
    elif what == 3:
        data = bytearray(_zipped(members))
        directory = data.rindex(b"PK\5\6")
        begin = struct.unpack_from("<I", data, directory + 16)[0]
        data[begin + rng.randrange(len(data) - begin)] = rng.choice((0, 1, 255))
        return bytes(data)
    else:
        members[program] = operations(rng, members[program])
    return _zipped(members)


def _legacy_with_other_program(rng: Random, data: bytes) -> bytes:
    ends, place = [], 0
    while len(ends) < 5:
        for opcode, _, position in pickletools.genops(data[place:]):
            if opcode.name == "STOP":
                place += position + 1
                break
        ends.append(place)
    chosen = rng.choice((1, 2, 3, 3, 3, 4))
    part = data[ends[chosen - 1] : ends[chosen]]
    return data[: ends[chosen - 1]] + operations(rng, part) + data[ends[chosen] :]


def operations(rng: Random, program: bytes) -> bytes:
    """A pickle with some operations removed, repeated, exchanged, or hostile ones put in."""
    begins = [position for _, _, position in pickletools.genops(program)] + [len(program)]
    parts = [program[begin:end] for begin, end in itertools.pairwise(begins)]
    for _ in range(rng.choice((1, 1, 2, 3))):
        place, what = rng.randrange(1, len(parts)), rng.randrange(6)
        if what == 0:
            del parts[place]
        elif what == 1:
            parts[place:place] = [parts[rng.randrange(len(parts))]] * rng.choice((1, 2, 40))
        elif what == 2:
            parts[place] = parts[rng.randrange(1, len(parts))]
        elif what == 3:
            parts[place:place] = [rng.choice(FRAGMENTS)]
        elif what == 4:
            parts[place] = rng.choice(FRAGMENTS)
        else:
            parts[place] = raw(rng, parts[place], (1,)) if parts[place] else b""
        if len(parts) < 2:
            break
    return b"".join(parts)


def built(rng: Random, names: list[str], script: bool) -> bytes:
    """A file that gives some of the names something that no file of tensors holds; the pickle is right otherwise."""
    hostile = rng.randrange(len(names))
    parts = [hostile_files.word(name) + (_hostile(rng) if number == hostile or rng.random() < 0.1 else GOOD)
             for number, name in enumerate(names)]  # fmt: skip
    body = b"}(" + b"".join(parts) + b"u"
    if script:
        return hostile_files.zipped(hostile_files.SCRIPT + body + b"b", script=True)
    return hostile_files.zipped(body) if rng.random() < 0.6 else hostile_files.legacy(body)


def _hostile(rng: Random) -> bytes:
    """One value: a tensor that asks for more than there is, a circle, parts that are shared 2^30 times, ..."""
    if rng.random() < 0.5:
        dimensions = rng.choice((1, 2, 2, 3))
        size, stride = (tuple(rng.choice(sizes) for _ in range(dimensions)) for sizes in (SIZES, STRIDES))
        held = hostile_files.storage(rng.choice((0, 1, 4, 4, 4, 2**40)), kind=rng.choice(STORAGES))
        return hostile_files.tensor(size, stride, rng.choice((0, 0, 0, 1, 3, 2**40)), held)
    return rng.choice(WHOLE)


SIZES, STRIDES = (0, 1, 2, 4, 4, 60_000, 2**40), (0, 0, 1, 1, 2, 2**40)
STORAGES = ("FloatStorage", "FloatStorage", "HalfStorage", "BoolStorage", "ByteStorage", "QInt8Storage")
GOOD = hostile_files.tensor()


def _whole() -> list[bytes]:
    """Values that need no others around them."""
    again, found = hostile_files.word("a") + b"h\x00", [b"]" * 5000 + b"a" * 4999, b")" + b"\x85" * 5000]
    found += [b"}q\x00" + again + b"s", b"]q\x00h\x00a", hostile_files.ORDERED + b"q\x00" + again + b"s"]
    found += [hostile_files.SCRIPT + b"q\x00}" + again + b"sb"]
    script = (hostile_files.SCRIPT + b"}(", again, b"ub")  # of a TorchScript archive only modules are walked
    for begin, two, end in ((b"}(", again, b"u"), (b"](", b"", b"e"), (b"", b"", b"\x86"), script, script):
        shared = GOOD + b"q\x00"
        for level in range(30):
            get = hostile_files.get(level)
            pair = hostile_files.word("a") + get + hostile_files.word("b") + get if two else get + get
            shared += begin + pair + end + b"q" + bytes((level + 1,))
        found.append(b"(" + shared + b"1" + hostile_files.get(30))  # without those that it is made of
    return [*found, hostile_files.V2 + b"N}" + hostile_files.word("__defaults__") + b")s\x86b"]


WHOLE = _whole()


def _fragments() -> list[bytes]:
    number, word, named = hostile_files.number, hostile_files.word, hostile_files.named
    found = [bytes((code,)) for code in b"N}])(021.RbsuaetQ\x81\x85\x86\x87\x88\x94"]
    found += [b"q\x00", b"h\x00", b"h\x01", b"h\x02", b"h\xff"]
    found += [number(item) for item in (0, 1, -1, 4, 2**31, 2**40, 2**62, 2**70)]
    found += [word(text) for text in TEXTS]
    found += [hostile_files.storage(count) + b"0" for count in (0, 4, 2**40)] + [hostile_files.storage()]
    found += [hostile_files.tensor(*args) for args in (((60000, 60000), (0, 0)), ((2**40,), (1,)), ((4,), (1,), 3))]
    found += [named(*name.split(":")) for name in ("torch:FloatStorage", "torch._utils:_rebuild_tensor_v2",
              "collections:OrderedDict", "torch:Size", "os:mkdir", "builtins:eval", "__torch__:M")]  # fmt: skip
    again = word("a") + b"h\x00"
    circle = [b"}q\x00" + again + b"s", b"]q\x00h\x00a", hostile_files.ORDERED + b"q\x00(" + again + b"u"]
    shared = b"}" + word("a") + b"Nsq\x00"
    for level in range(30):
        get = hostile_files.get(level)
        shared += b"}(" + word("a") + get + word("b") + get + b"uq" + bytes((level + 1,))
    changed = hostile_files.V2 + b"N}" + word("__defaults__") + b")s\x86b"
    many = b"(" + b"}" * 20_000 + b"t"
    return [*found, *circle, shared, changed, many, b"]" * 500 + b"a" * 499]


FRAGMENTS = _fragments()


def _members(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def _zipped(members: Mapping[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    output = BytesIO()
    with zipfile.ZipFile(output, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return output.getvalue()
