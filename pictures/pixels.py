"""Bytes of a picture file -> pixels of the kinds that people keep pictures in, with the values that are in the file."""

from __future__ import annotations

import contextlib
import importlib
import io
from collections.abc import Iterator

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

SUFFIXES = (".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".avif", ".jxl",
            ".heic", ".heif")  # fmt: skip
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF", "PPM", "AVIF", "JXL", "HEIF")  # not EPS: it runs Ghostscript
LARGEST = 110_000_000  # pixels; in float32 that is 1.3 GB
BEYOND = 0.25  # of 0...1, by which float pictures may overshoot, as after bicubic resizing; it is cut off
BITS, PHOTOMETRIC, WHITE_IS_ZERO = 258, 262, 0  # tags of TIFF
ORIENTATION, TURNED = 274, 5  # tag of EXIF, and the first of its values that exchanges width and height
FOREIGN = (  # beginning of the file, what it is, and the package that teaches Pillow to read it
    (0, b"\xff\x0a", "JPEG XL", "pillow-jxl-plugin"),
    (4, b"JXL \r\n", "JPEG XL", "pillow-jxl-plugin"),
    (4, b"ftyphei", "HEIC", "pillow-heif"),
    (4, b"ftypmif1", "HEIC", "pillow-heif"),
    (4, b"ftypavi", "AVIF", "pillow-avif-plugin"),
)


def decode(data: bytes) -> Tensor:
    """Pixels ``[H, W, 3]`` float32, 0...1; see :func:`decode_opened`.

    Raises:
        ValueError: see there, and :func:`open_image`.
    """
    return as_float(decode_opened(open_image(data)))


def as_float(values: Tensor) -> Tensor:
    """What :func:`decode_opened` gives, as float32 0...1."""
    return values.float().div_(255) if values.dtype == torch.uint8 else values


def open_image(data: bytes) -> Image.Image:
    """Size and kind of a picture, which take no time; nothing is decoded yet.

    Raises:
        ValueError: it is no picture, or larger than ``LARGEST``.
    """
    with _reasons():
        image = _opened(data)
        if image.width * image.height > LARGEST:
            raise ValueError(
                f"{image.width}x{image.height} are more than {LARGEST // 10**6} megapixels, the most that are read; "
                "scale it down"
            )
        return image


def decode_opened(image: Image.Image) -> Tensor:
    """Pixels ``[H, W, 3]``, rotated by EXIF orientation, transparency over white; of animations the first frame.

    They are uint8, 0...255, or, of grey pictures with more bits, which keep all of them, float32, 0...1. Of float
    pictures 0 is black and 1 white. The image itself is used up.

    Raises:
        ValueError: it is damaged, or its white is unknown.
    """
    with _reasons():
        deep = image.mode == "F" or image.mode.startswith("I")
        return _of_deep(image) if deep else _of_bytes(image)


@contextlib.contextmanager
def _reasons() -> Iterator[None]:
    """Whatever goes wrong is a ValueError."""
    try:
        yield
    except ValueError:
        raise
    except MemoryError:
        raise ValueError("there is not enough memory for it") from None
    except Exception as error:  # Pillow's readers name no common class for what a damaged file can raise
        raise ValueError(str(error) or type(error).__name__) from error


def size_of(data: bytes) -> tuple[int, int]:
    """Width and height as :func:`decode` gives them, without decoding.

    Raises:
        ValueError: it is no picture.
    """
    try:
        image = _opened(data)
        turned = image.getexif().get(ORIENTATION, 1) >= TURNED
        return image.size[::-1] if turned else image.size
    except ValueError:
        raise
    except Exception as error:  # as in decode
        raise ValueError(str(error) or type(error).__name__) from error


def _opened(data: bytes) -> Image.Image:
    try:
        return _identified(data)
    except UnidentifiedImageError:
        for offset, mark, kind, package in FOREIGN:
            if data.startswith(mark, offset):
                return _opened_by_plugin(data, kind, package)
        raise ValueError("cannot identify image file; it is damaged, or no picture of a kind that is read") from None
    except Image.DecompressionBombError:
        raise ValueError(
            f"it has more than {LARGEST // 10**6} megapixels, the most that are read; scale it down"
        ) from None


def _identified(data: bytes) -> Image.Image:
    """Whatever a file's name says, it is opened as one of ``FORMATS``."""
    Image.init()
    return Image.open(io.BytesIO(data), formats=[kind for kind in FORMATS if kind in Image.OPEN])


def _opened_by_plugin(data: bytes, kind: str, package: str) -> Image.Image:
    try:
        plugin = importlib.import_module(package.removesuffix("-plugin").replace("-", "_"))
        if hasattr(plugin, "register_heif_opener"):
            plugin.register_heif_opener()
        return _identified(data)
    except (ImportError, UnidentifiedImageError):
        raise ValueError(f"it is {kind}, which this Pillow cannot read; pip install {package}, or convert it") from None


def _of_bytes(image: Image.Image) -> Tensor:
    ImageOps.exif_transpose(image, in_place=True)  # which copies only what must be turned
    if image.has_transparency_data:
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image.convert("RGBA"))
    return torch.from_numpy(np.array(image if image.mode == "RGB" else image.convert("RGB")))


def _of_deep(image: Image.Image) -> Tensor:
    """Of one channel with more than 8 bits, which ``convert("RGB")`` would cut off at 255."""
    tags, clear = getattr(image, "tag_v2", {}), image.info.get("transparency")
    white = _white(image, tags)
    grey = np.array(ImageOps.exif_transpose(image)).astype(np.float32)
    is_clear = grey == clear if isinstance(clear, int) else None
    grey /= white
    if not (grey.min() >= -BEYOND and grey.max() <= 1 + BEYOND):  # also of NaN
        raise ValueError(
            f"its values, {grey.min() * white:g} to {grey.max() * white:g}, are not within 0 (black) and {white:g} "
            "(white); convert it to 8 or 16 bits"
        )
    grey = grey.clip(0, 1)
    if tags.get(PHOTOMETRIC) == WHITE_IS_ZERO:
        grey = 1 - grey
    if is_clear is not None:
        grey[is_clear] = 1
    return torch.from_numpy(grey)[..., None].repeat(1, 1, 3)


def _white(image: Image.Image, tags: dict) -> float:
    """Value of white."""
    if image.mode == "F":
        return 1.0
    bits = tags.get(BITS, (16,))[0]  # 12 in some TIFFs; of other formats Pillow makes 16
    if bits > 16:
        raise ValueError(
            f"its values are integers of {bits} bits, of which no one knows the white; convert it to 16 bits"
        )
    return float(2**bits - 1)
