"""A picture that can be read, wherever it is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from .parquet import image_bytes
from .pixels import decode


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
            return file.read(self.size)

    def read(self) -> Tensor:
        """Pixels ``[H, W, 3]``, see :func:`.pixels.decode`.

        Raises:
            UnreadablePicture: with the reason.
        """
        try:
            return decode(self.content())
        except (OSError, ValueError) as error:
            raise UnreadablePicture(f"{self.key}: {error}") from error


def read_picture(file: Path) -> Tensor:
    """Pixels of a picture file; see :meth:`Picture.read`."""
    return Picture(str(file), None, file).read()
