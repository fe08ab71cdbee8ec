"""A picture that can be read, wherever it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from .parquet import image_bytes
from .pixels import as_float, decode_opened, open_image

DECODING = {"L": 14, "RGB": 14}  # bytes per pixel at the peak, by mode: Pillow's four, and numpy's while it joins parts
OTHERS = 30  # of modes that are converted, as transparent or deep ones


class UnreadablePicture(ValueError):
    """A file that is no picture, or a damaged one."""


@dataclass(frozen=True)
class Picture:
    """A picture that can be read.

    Attributes:
        key: unique in its set and the same on every machine: the path below the set's folder, or that of the shard and
            the name (in Parquet the number) inside it.
        caption: None if there is none.
        file: that holds it.
        offset, size: bytes inside the file; size None is the whole file. In Parquet the offset is the row.
        uncaptioned: why there is no caption.
    """

    key: str
    caption: str | None
    file: Path
    offset: int = 0
    size: int | None = None
    uncaptioned: str = ""

    @property
    def in_shard(self) -> bool:
        """Whether it lies in a file with others."""
        return self.size is not None or self.file.suffix.lower() == ".parquet"

    def content(self) -> bytes:
        """Of the picture's file, as it was before it came into a shard.

        Raises:
            OSError: it cannot be read.
            ValueError: the row holds no picture.
        """
        if self.file.suffix.lower() == ".parquet":
            return image_bytes(self.file, self.offset)
        with self.file.open("rb") as file:
            file.seek(self.offset)
            data = file.read(self.size)
        if self.size is not None and len(data) < self.size:
            raise ValueError(f"{self.file.name} ends before it; it was cut off since it was looked through")
        return data

    def read(self) -> Tensor:
        """Pixels ``[H, W, 3]`` float32, 0...1, see :func:`.pixels.decode_opened`.

        Raises:
            UnreadablePicture: with the reason.
        """
        return as_float(self.values())

    def values(self, reserve: Callable[[int], None] = lambda size: None) -> Tensor:
        """Pixels ``[H, W, 3]`` in a quarter of the memory where they have 8 bits: uint8, 0...255; else as :meth:`read`.

        Args:
            reserve: is told before decoding how many bytes that takes, and may wait until there are as many.

        Raises:
            UnreadablePicture: with the reason.
        """
        try:
            image = open_image(self.content())
            reserve(image.width * image.height * DECODING.get(image.mode, OTHERS))
            return decode_opened(image)
        except (OSError, ValueError) as error:
            raise UnreadablePicture(f"{self.key}: {error}") from error


def read_picture(file: Path) -> Tensor:
    """Pixels of a picture file; see :meth:`Picture.read`."""
    return Picture(str(file), None, file).read()
