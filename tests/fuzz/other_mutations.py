"""Changes of MATLAB files, tables (Parquet, Feather), shards and pictures."""

from __future__ import annotations

import io
import struct
import tarfile
from collections.abc import Mapping
from functools import cache
from random import Random

import numpy as np
import pyarrow
import pyarrow.parquet as parquet
from PIL import Image

from .mutations import TEXTS, raw, value

PICTURES = (("png", "RGB"), ("png", "P"), ("png", "I;16"), ("png", "RGBA"), ("jpeg", "RGB"), ("webp", "RGBA"),
            ("tiff", "RGB"), ("tiff", "F"), ("gif", "P"), ("bmp", "RGB"))  # fmt: skip
pyarrow.set_cpu_count(1)  # files are so small that threads only cost
COMPRESSIONS = ("snappy", "none", "zstd", "gzip")
TYPES = (pyarrow.string(), pyarrow.int64(), pyarrow.int8(), pyarrow.float64(), pyarrow.float16(), pyarrow.binary(),
         pyarrow.bool_(), pyarrow.large_string(), pyarrow.list_(pyarrow.int64()), pyarrow.null())  # fmt: skip


def matlab(rng: Random, data: bytes) -> bytes:
    """Types, lengths, dimensions and flags of elements, or bytes, of an uncompressed file."""
    if rng.random() < 0.15:
        return raw(rng, data)
    data = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 4))):
        tag = rng.choice(_tags(bytes(data)) or [128])
        place = tag + 4 * rng.randrange(4)
        if place + 4 > len(data):
            continue
        (was,) = struct.unpack_from("<I", data, place)
        near = (was + 1, was - 1, 2 * was, was ^ 1 << rng.randrange(32))
        new = rng.choice((0, 1, 2, 6, 14, 15, *near, 2**31 - 1, 2**32 - 1))
        struct.pack_into("<I", data, place, new % 2**32)
    return bytes(data)


def _tags(data: bytes, place: int = 128, end: int | None = None) -> list[int]:
    """Places of elements, those within matrices, too."""
    found, end = [], len(data) if end is None else min(end, len(data))
    while place + 8 <= end:
        kind, length = struct.unpack_from("<II", data, place)
        found.append(place)
        if kind >> 16:
            place += 8
            continue
        if kind == 14 and len(found) < 300:
            found += _tags(data, place + 8, place + 8 + length)
        place += 8 + length + -length % 8
    return found


def table(
    rng: Random,
    columns: Mapping[str, list],
    suffix: str = ".parquet",
    kinds: Mapping[str, pyarrow.DataType] | None = None,
    metadata: Mapping[bytes, bytes] | None = None,
) -> bytes:
    """Other columns, types, values and numbers of rows; sometimes packed, or damaged.

    Args:
        kinds: of what type columns are, where values do not say it.
        metadata: of the file.
    """
    kinds = kinds or {}
    columns = {name: list(values) for name, values in columns.items()}
    names, what = list(columns), rng.randrange(14)
    name = rng.choice(names)
    if what == 0:
        del columns[name]
    elif what == 1:
        columns[rng.choice(TEXTS[:9])] = columns.pop(name)
    elif what < 5:
        columns[name][rng.randrange(len(columns[name]))] = value(rng)
    elif what == 5:
        rows = rng.choice((0, 1, 40))
        columns = {name: values[:1] * rows for name, values in columns.items()}
    arrays = {name: _array(values, rng.choice(TYPES) if what == 6 else kinds.get(name))
              for name, values in columns.items()}  # fmt: skip
    if what == 8 and suffix == ".parquet":
        return _repeated(tuple(columns))
    if what == 7:  # of which a few bytes make any number of rows
        return _packed(tuple(columns), suffix)
    made = pyarrow.table(arrays).replace_schema_metadata(metadata)
    data = _written(made, suffix, rng.choice(COMPRESSIONS), 10**7 if metadata else rng.choice((1, 2, 10**7)))
    if what == 12:  # a name that is no text
        return data.replace(name.encode(), b"\x80" * len(name))
    if what == 13:
        return _other_count(rng, data, made.num_rows)
    return data if what < 9 else _at_end(rng, data) if what < 11 else raw(rng, data)


def _written(made: pyarrow.Table, suffix: str, compression: str, rows: int) -> bytes:
    output = io.BytesIO()
    if suffix == ".parquet":
        parquet.write_table(made, output, compression=compression, row_group_size=rows)
    else:
        with pyarrow.ipc.new_file(output, made.schema) as writer:
            writer.write_table(made)
    return output.getvalue()


@cache
def _packed(columns: tuple[str, ...], suffix: str) -> bytes:
    """Rows of nothing: as Parquet, five million of them are a few kilobytes."""
    count = 5 * 10**6 if suffix == ".parquet" else 20_000
    nothing = pyarrow.nulls(count, pyarrow.string())
    return _written(pyarrow.table(dict.fromkeys(columns, nothing)), suffix, "zstd", 10**8)


@cache
def _repeated(columns: tuple[str, ...]) -> bytes:
    """One long text many times, in a dictionary of texts."""
    texts = pyarrow.DictionaryArray.from_arrays(pyarrow.array([0] * 3000, pyarrow.int32()), ["a" * 10**6])
    output = io.BytesIO()
    parquet.write_table(pyarrow.table(dict.fromkeys(columns, texts)), output, store_schema=False)
    return output.getvalue()


def _array(values: list, kind: pyarrow.DataType | None) -> pyarrow.Array:
    """Of values of mixed types: texts."""
    try:
        array = pyarrow.array(values, kind)
    except (pyarrow.ArrowException, OverflowError, UnicodeEncodeError):
        array = None
    if array is not None and "struct<>" not in str(array.type):  # which no table takes
        return array
    return pyarrow.array([str(item).encode("utf-8", "replace").decode() for item in values])


def _other_count(rng: Random, data: bytes, rows: int) -> bytes:
    """Another number of rows: of all, of a group or of a column, as Parquet's description has them."""
    places = [
        place
        for place in range(max(0, len(data) - 1500), len(data))
        if data[place : place + 2] == b"\x16%c" % (2 * rows)
    ]
    place = rng.choice(places or [len(data)])
    return data[: place + 1] + b"%c" % (2 * rng.choice((0, 1, rows + 1, 60))) + data[place + 2 :]


def _at_end(rng: Random, data: bytes) -> bytes:
    """A damaged footer, which describes the columns."""
    cut = max(0, len(data) - 1500)
    return data[:cut] + raw(rng, data[cut:-8]) + data[-8:]


def shard(rng: Random, members: Mapping[str, bytes]) -> bytes:
    """A tar with other names, sizes and kinds of members; sometimes damaged."""
    output = io.BytesIO()
    kinds = (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT, tarfile.USTAR_FORMAT)
    with tarfile.open(fileobj=output, mode="w", format=rng.choice(kinds[:2])) as archive:
        for name, content in members.items():
            if rng.random() < 0.2:
                name = rng.choice((*TEXTS[:-2], "../" + name, "/" + name, "a/" * 300 + name, name.upper(), ".txt"))
            if rng.random() < 0.15:
                content = rng.choice((b"", b"\xff\xfe", rng.randbytes(100), b"[" * 100_000, b'{"text": 1}'))
            info = tarfile.TarInfo(name)
            info.size = len(content)
            if rng.random() < 0.1:
                info.type = rng.choice((tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.CHRTYPE, b"?"))
                info.linkname = rng.choice(TEXTS[:9])
            try:
                archive.addfile(info, io.BytesIO(content))
            except (ValueError, UnicodeError):
                continue
    data = bytearray(output.getvalue())
    what = rng.randrange(6)
    if what == 0:
        return raw(rng, bytes(data))
    if what == 1:
        _change_header(rng, data)
    elif what == 2:
        return _long_names(rng, rng.choice((1, 1, 2, 50, 3000))) + bytes(data)
    elif what == 3:
        return _sparse(rng.choice((2**20, 2**33, 2**60))) + bytes(data)
    return bytes(data)


def _change_header(rng: Random, data: bytearray) -> None:
    """Another size or kind of a member, with a checksum that is right."""
    begin = 512 * rng.randrange(min(8, max(1, len(data) // 512)))
    sizes = (
        b"77777777777\0",
        b"00000000001\0",
        b"-0000000001\0",
        b"\x80" + bytes(3) + b"\xff" * 8,
        b"\xff" * 12,
        b"\xff" * 10 + b"\xfc\x00",
        b"\xff" * 10 + b"\xfe\x00",
    )
    if rng.random() < 0.7:
        data[begin + 124 : begin + 136] = rng.choice(sizes)
    else:
        data[begin + 156] = rng.choice(b"0123456LKxgSV?")
    _sum(data, begin)


def _sum(data: bytearray, begin: int) -> None:
    data[begin + 148 : begin + 156] = b" " * 8
    data[begin + 148 : begin + 156] = b"%06o\0 " % sum(data[begin : begin + 512])


def _header(name: bytes, kind: bytes, size: bytes) -> bytearray:
    header = bytearray(512)
    header[: len(name)] = name
    header[124 : 124 + len(size)] = size
    header[156:157] = kind
    header[257:265] = b"ustar  \0"
    return header


def _long_names(rng: Random, count: int) -> bytes:
    """A name of a name of a name ..., or one of any length."""
    size = b"00000000002\0" if count > 1 else b"\x80" + bytes(3) + struct.pack(">Q", rng.choice((2**33, 2**60)))
    header = _header(b"././@LongLink", rng.choice((b"L", b"K", b"x", b"g")), size)
    _sum(header, 0)
    return (bytes(header) + b"a".ljust(512, b"\0")) * count


def _sparse(size: int) -> bytes:
    """A caption with a hole of any size in it, as GNU tar keeps them."""
    header = _header(b"a.txt", b"S", b"00000000000\0")
    header[386:410] = b"00000000000\0" * 2
    header[483:495] = b"\x80" + bytes(3) + struct.pack(">Q", size)
    _sum(header, 0)
    return bytes(header)


def picture(rng: Random) -> bytes:
    """A small picture of any kind, with changed bytes."""
    kind, mode = rng.choice(PICTURES)
    output = io.BytesIO()
    pixels = np.random.default_rng(rng.randrange(100)).integers(0, 255, (9, 11, 3), np.uint8)
    image = Image.fromarray(pixels)
    image = image.convert("L") if mode in ("F", "I;16") else image
    image.convert(mode).save(output, kind)
    return raw(rng, output.getvalue(), (0, 1, 1, 2, 8))
