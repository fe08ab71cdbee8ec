"""MATLAB files of IQA models, level 5: numbers, cells and structs.

SciPy's reader takes the memory that a file declares, and damaged files end the whole process in it. This one knows what
the files of NIQE, IL-NIQE, BRISQUE and NRQM need, and compares every declared length with what is there.

Format: MathWorks, "MAT-File Format", level 5.
"""

from __future__ import annotations

import math
import struct
import zlib
from pathlib import Path

import numpy as np

from ..files import WrongFile, shown

HEADER = 128  # bytes: a text, version 1.0 and the order of bytes
MATRIX, COMPRESSED = 14, 15  # types of elements
FORMATS = {1: "i1", 2: "u1", 3: "<i2", 4: "<u2", 5: "<i4", 6: "<u4", 7: "<f4", 9: "<f8", 12: "<i8", 13: "<u8"}
CELLS, STRUCT = 1, 2  # classes of matrices that hold matrices
NUMBERS = range(6, 16)  # classes of matrices that hold numbers
COMPLEX = 8  # flag
ROOM = 2**24  # bytes that a file may unfold to beside as many as it has
DEPTH = 8  # of matrices in matrices; NRQM's forests are 3 deep
MATRICES = 10_000
SHAPES = {  # of the variables of NIQE and BRISQUE; None: any number
    "mu_prisparam": (36,),
    "cov_prisparam": (36, 36),
    "sv": (None, 36),
    "sv_coef": (None,),
}


def read_matlab(path: str | Path, *_, **__) -> dict[str, np.ndarray]:
    """Variables of a file as ``scipy.io.loadmat`` gives them, which it stands in for.

    Raises:
        FileNotFoundError: no such file.
        WrongFile: it is damaged, or declares more than it has.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"There is no file {shown(path)}.")
    try:
        content = _Reader(path.read_bytes()).variables()
    except (struct.error, LookupError, TypeError, ValueError, zlib.error) as error:
        raise WrongFile(
            f"{shown(path)} is truncated, damaged, or no MATLAB file of level 5 ({shown(error)}). Delete it, and get "
            "it again."
        ) from error
    for name, shape in SHAPES.items():
        if name in content and not _fits(content[name], shape):
            raise WrongFile(f"{shown(path)}: {name} is misshapen or no numbers. Delete it, and get it again.")
    return content


def _fits(value: np.ndarray, shape: tuple[int | None, ...]) -> bool:
    found = value.shape if len(shape) == 2 else (value.size,)
    shaped = len(found) == len(shape) and all(want in (None, have) for want, have in zip(shape, found, strict=True))
    return shaped and value.size > 0 and value.dtype.kind in "iuf" and bool(np.isfinite(value).all())


class _Reader:
    def __init__(self, data: bytes):
        if data[124:128] != b"\x00\x01IM":
            raise ValueError("its beginning is of another kind")
        self.data = memoryview(data)  # of which slices are no copies
        self.room = len(data) + ROOM
        self.matrices = MATRICES

    def variables(self) -> dict[str, np.ndarray]:
        found, place = {}, HEADER
        while place < len(self.data):
            kind, length = struct.unpack_from("<II", self.data, place)
            body = self.data[place : place + 8 + length]
            if len(body) < 8 + length:
                raise ValueError("it ends early")
            place += 8 + length + (0 if kind == COMPRESSED else -length % 8)
            if kind == COMPRESSED:
                unfolding = zlib.decompressobj()
                body = memoryview(unfolding.decompress(body[8:], max(1, self.room)))
                self.room -= len(body)
                if not unfolding.eof:
                    raise ValueError("a variable unfolds endlessly")
            kind, begin, end, _ = _element(body, 0, len(body))
            if kind != MATRIX:
                raise ValueError("a variable is no matrix")
            name, value = self._matrix(body, begin, end, 0)
            found[name] = value
        return found

    def _matrix(self, data: memoryview, place: int, end: int, depth: int) -> tuple[str, np.ndarray]:
        """Name and value of a matrix between two places."""
        self.matrices -= 1
        if depth > DEPTH or not self.matrices:
            raise ValueError("its matrices are nested endlessly")
        if place == end:
            return "", np.empty((0, 0))
        _, flags, _, place = _element(data, place, end)
        kind = data[flags]
        if data[flags + 1] & COMPLEX:
            raise ValueError("it holds complex numbers")
        _, begin, stop, place = _element(data, place, end)
        shape = struct.unpack(f"<{(stop - begin) // 4}i", data[begin:stop])
        if not 2 <= len(shape) <= 8 or min(shape) < 0:
            raise ValueError("a matrix has impossible dimensions")
        _, begin, stop, place = _element(data, place, end)
        name = str(data[begin:stop], "latin1")
        if kind in NUMBERS:
            kind, begin, stop, _ = _element(data, place, end)
            values = np.frombuffer(data[begin:stop], FORMATS[kind])
            return name, values.reshape(shape, order="F").copy()
        fields = []
        if kind == STRUCT:
            _, begin, stop, place = _element(data, place, end)
            longest = int.from_bytes(data[begin:stop], "little")
            _, begin, stop, place = _element(data, place, end)
            names = bytes(data[begin:stop]).decode("latin1")
            fields = [names[i : i + longest].split("\0")[0] for i in range(0, len(names), longest)]
        elif kind != CELLS:
            raise ValueError("it holds something else than numbers")
        count = math.prod(shape)
        if 8 * count * max(1, len(fields)) > end - place:
            raise ValueError("it declares more matrices than it has")
        items = []
        for _ in range(count * len(fields) if kind == STRUCT else count):
            inner, begin, stop, place = _element(data, place, end)
            if inner != MATRIX:
                raise ValueError("a cell is no matrix")
            items.append(self._matrix(data, begin, stop, depth + 1)[1])
        value = np.empty(count, [(field, object) for field in fields] if kind == STRUCT else object)
        for number in range(count):
            value[number] = tuple(items[number * len(fields) :][: len(fields)]) if kind == STRUCT else items[number]
        return name, value.reshape(shape, order="F")


def _element(data: memoryview, place: int, end: int) -> tuple[int, int, int, int]:
    """Type, begin and end of an element, and where the next one is."""
    kind, length = struct.unpack_from("<II", data, place)
    if kind >> 16:  # small: type and length share the first half
        kind, length, begin, following = kind & 0xFFFF, kind >> 16, place + 4, place + 8
    else:
        begin = place + 8
        following = begin + length + -length % 8
    if begin + length > end:
        raise ValueError("an element is longer than what holds it")
    return kind, begin, begin + length, following
