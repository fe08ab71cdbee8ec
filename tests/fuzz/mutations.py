"""Changes of good files, by kind of file; each is drawn by a ``random.Random``."""

from __future__ import annotations

import copy
import json
import struct
from collections.abc import Callable, Iterator, Mapping
from random import Random

import hostile_files
import torch

TEXTS = ("", "a", "yes", "0", "1e999", "nan", "..", "a.b", "\x00", "\u202ea\n", "\x1b[31m", "\ud800", "a" * 3000, "é")
NUMBERS = (0, 1, -1, 2, 1.5, -0.0, 1e-300, 1e308, 2**31, 2**53 + 1, -(2**63), 2**64, 10**30, float("nan"), float("inf"))
NOTHING = (None, True, False, [], {}, [[]], [None], {"": None}, {"name": "a"})
MORE = 200  # fields, after which nothing further is added: fields of fields of fields would be without end
DTYPES = (torch.float16, torch.bfloat16, torch.float64, torch.int64, torch.bool, torch.uint8, torch.float8_e4m3fn)


def value(rng: Random, nested: bool = False) -> object:
    """Anything that JSON can say, nested once."""
    kind = rng.randrange(9 if nested else 10)
    if kind < 3:
        return rng.choice(TEXTS)
    if kind < 6:
        return rng.choice(NUMBERS)
    if kind < 9:
        return copy.deepcopy(rng.choice(NOTHING))
    inner = value(rng, nested=True)
    return [inner] * rng.choice((1, 2, 500)) if rng.random() < 0.5 else {rng.choice(TEXTS): inner}


def places(content: object) -> Iterator[tuple[object, object]]:
    """Every container in nested lists and dicts with each of its keys."""
    keys = content if isinstance(content, dict) else range(len(content)) if isinstance(content, list) else ()
    for key in keys:
        yield content, key
        yield from places(content[key])


def tree(rng: Random, content: object, new: Callable[[Random], object] = value) -> object:
    """Nested lists and dicts with one to three fields changed, removed, added, renamed or exchanged."""
    content = copy.deepcopy(content)
    most = len(list(places(content))) + MORE
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        found = list(places(content))
        if not found or rng.random() > 0.98:
            return new(rng)
        if len(found) > most:
            break
        holder, key = rng.choice(found)
        what = rng.randrange(8)
        if what < 4:
            holder[key] = new(rng)
        elif what == 4:
            del holder[key]
        elif what == 5 and isinstance(holder, dict):
            holder[rng.choice((f"{key}_", key[:-1], *TEXTS)) if isinstance(key, str) else key] = holder.pop(key)
        elif what == 6:
            other, place = rng.choice(found)
            if place in other if isinstance(other, dict) else place < len(other):
                holder[key] = copy.deepcopy(other[place])
        elif isinstance(holder, list):
            holder[key:key] = [copy.deepcopy(holder[key])] * rng.choice((1, 1, 3, 300))
        else:
            holder[rng.choice(TEXTS)] = new(rng)
    return content


def raw(rng: Random, data: bytes, changes: tuple[int, ...] = (1, 1, 2, 8)) -> bytes:
    """A few bytes changed, removed, repeated or added; sometimes cut."""
    data = bytearray(data)
    for _ in range(rng.choice(changes)):
        place = rng.randrange(len(data) + 1) if rng.random() < 0.5 else rng.randrange(min(len(data), 1500) + 1)
        what, length = rng.randrange(8), rng.choice((1, 1, 2, 4, 8, 64))
        if what < 4 and place < len(data):
            data[place] = rng.choice((0, 1, 127, 128, 255, data[place] ^ 1 << rng.randrange(8)))
        elif what == 4:
            del data[place : place + length]
        elif what == 5:
            data[place:place] = data[place : place + length] * rng.choice((1, 2, 50))
        elif what == 6:
            data[place:place] = rng.choice((rng.randbytes(length), b"\xff" * length, bytes(length)))
        elif rng.random() < 0.3:
            del data[place:]
    return bytes(data)


def json_text(rng: Random, content: object) -> bytes:
    """Mostly valid JSON with other fields, sometimes endless or damaged."""
    what = rng.randrange(20)  # not at its ends, which Hypothesis prefers
    if what == 9:
        return rng.choice((b"[", b'{"a":')) * rng.choice((100, 10_000, 200_000))
    if what == 10:
        return rng.choice((b"", b"null", b"1", b'"a"', b"[]", b"\xff\xfe", b"NaN", b"<html>", b"\xef\xbb\xbf{}"))
    damaged = 10 < what < 14
    text = json.dumps(content if damaged else tree(rng, content), ensure_ascii=rng.random() < 0.9)
    data = text.encode("utf-8", "surrogatepass")
    return raw(rng, data) if damaged else data


def lines(rng: Random, text: str, hostile: tuple[str, ...] = ()) -> bytes:
    """A text with lines changed, removed, exchanged or repeated; sometimes in another encoding, or damaged."""
    found = text.split("\n")
    for _ in range(rng.choice((1, 1, 2, 4))):
        place, what = rng.randrange(len(found)), rng.randrange(6)
        if what < 2:
            words = found[place].split(" ")
            words[rng.randrange(len(words))] = str(rng.choice((value(rng), *hostile)))
            found[place] = " ".join(words)
        elif what == 2:
            found[place] = str(rng.choice((*hostile, *TEXTS)))
        elif what == 3 and len(found) > 1:
            del found[place]
        elif what == 4:
            found[place:place] = [found[rng.randrange(len(found))]] * rng.choice((1, 2, 10))
        else:
            cut = rng.randrange(len(found[place]) + 1)
            found[place] = found[place][:cut] + rng.choice((*hostile, *TEXTS)) + found[place][cut:]
    encoding = rng.choice(("utf-8",) * 6 + ("utf-16", "utf-16-le", "cp1252", "latin1"))
    data = rng.choice(("\n",) * 5 + ("\r\n", "\r")).join(found).encode(encoding, "replace")
    return raw(rng, data) if rng.random() < 0.2 else data


# Tensors


def tensors(rng: Random, content: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Other shapes, types and values; some gone, renamed or added."""
    content = dict(content)
    for _ in range(rng.choice((1, 1, 2, 3))):
        name = rng.choice(list(content)) if content else "a"
        found, what = content.get(name, torch.ones(2)), rng.randrange(7)
        if what == 0:
            content.pop(name, None)
        elif what == 1:
            parts = name.split(".")
            parts[rng.randrange(len(parts))] = rng.choice(("0", "-1", "9999", "²", "9" * 40, "weight", *TEXTS[:9], "é"))
            content[".".join(parts)] = content.pop(name, found)
        elif what == 2:
            content[name] = found.to(rng.choice(DTYPES))
        elif what == 3 and found.numel():
            content[name] = found.clone()
            content[name].reshape(-1)[rng.randrange(found.numel())] = rng.choice((0, 1, -1))
            if found.is_floating_point() and rng.random() < 0.7:
                content[name] = torch.full(found.shape, rng.choice((float("nan"), float("inf"), 6e4))).to(found.dtype)
        else:
            content[name] = torch.ones(shape(rng, found.shape), dtype=found.dtype)
    return content


def shape(rng: Random, size: tuple[int, ...]) -> tuple[int, ...]:
    """Another one with few values."""
    size = list(size)
    what = rng.randrange(4)
    if what == 0 or not size:
        return tuple(rng.choice((0, 1, 2, 3, 5)) for _ in range(rng.choice((0, 1, 2, 3, 8))))
    if what == 1:
        size[rng.randrange(len(size))] = rng.choice((0, 1, 3, 7))
    elif what == 2:
        del size[rng.randrange(len(size))]
    else:
        size.insert(rng.randrange(len(size) + 1), rng.choice((0, 1, 2)))
    return tuple(size)


def safetensors_file(rng: Random, content: Mapping[str, torch.Tensor], header: Mapping[str, object] | None) -> bytes:
    """Changes of tensors, of the texts in the header (JSON), of the header's own fields, or of bytes.

    Args:
        header: texts by name; what is no text is written as JSON.
    """
    what = rng.randrange(10)
    header = dict(header or {})
    if what < 4 and header:
        name = rng.choice(list(header))
        header[name] = json_text(rng, header[name]).decode("utf-8", "replace")
    elif what < 7:
        content = tensors(rng, content)
    texts = {name: text if isinstance(text, str) else json.dumps(text) for name, text in header.items()}
    try:
        data = hostile_files.safetensors.torch.save(content, texts or None)
    except (TypeError, ValueError, RuntimeError):  # half characters in a name
        return b"\x02\0\0\0\0\0\0\0{}"
    if what < 7:
        return data
    return raw(rng, data) if what == 9 else _other_header(rng, data)


def _other_header(rng: Random, data: bytes) -> bytes:
    (length,) = struct.unpack("<Q", data[:8])
    text = json.dumps(tree(rng, json.loads(data[8 : 8 + length]))).encode()
    stated = len(text) if rng.random() < 0.9 else rng.choice((0, 1, len(text) - 1, len(text) + 1, 2**31, 2**62))
    return struct.pack("<Q", stated) + text + data[8 + length :]
