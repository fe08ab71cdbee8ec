"""Pictures with captions: from a folder, as LoRA trainers and Hugging Face's ``imagefolder`` have it, or from shards.

* Folder: ``cat.png`` with its caption in ``cat.txt`` beside it, or in a ``metadata.jsonl`` with lines such as
  ``{"file_name": "cat.png", "text": "a cat"}``; folders inside it count, too.
* WebDataset shards: ``*.tar`` whose members share a name up to its first dot: ``000017.jpg``, ``000017.txt`` or
  ``000017.json`` (fields ``text`` or ``caption``). Shards are read at random, so they must be uncompressed files.

Only names, places and captions are held in memory; a picture is read when it is asked for.
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")
CAPTION_FIELDS = ("text", "caption")


class UnreadablePicture(ValueError):
    """A file that is no picture, or a damaged one."""


@dataclass(frozen=True)
class Picture:
    """A picture that can be read.

    Attributes:
        key: unique in its set and the same on every machine: the path below the set's folder, or that of the shard and
            the name inside it.
        caption: None if there is none.
        file: that holds it.
        offset, size: bytes inside the file; size None is the whole file.
    """

    key: str
    caption: str | None
    file: Path
    offset: int = 0
    size: int | None = None

    def read(self) -> Tensor:
        """Pixels ``[H, W, 3]``, 0...1, rotated by EXIF orientation, transparency over white.

        Raises:
            UnreadablePicture: with the reason.
        """
        try:
            with self.file.open("rb") as file:
                file.seek(self.offset)
                image = ImageOps.exif_transpose(Image.open(io.BytesIO(file.read(self.size))))
            if image.has_transparency_data:
                image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image.convert("RGBA"))
            return torch.from_numpy(np.array(image.convert("RGB"))).float() / 255
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            raise UnreadablePicture(f"{self.key}: {error}") from error


def read_picture(file: Path) -> Tensor:
    """Pixels of a picture file; see :meth:`Picture.read`."""
    return Picture(str(file), None, file).read()


def find_pictures(source: str | Path) -> list[Picture]:
    """All pictures of a folder, of a folder with shards, or of one shard, ordered by key.

    Raises:
        FileNotFoundError: there is nothing at ``source``.
        ValueError: it holds no pictures, or a shard or ``metadata.jsonl`` is damaged.
    """
    source = Path(source).expanduser()
    if not source.exists():
        raise FileNotFoundError(f"There is no {source}; give a folder of pictures or of .tar shards.")
    root = source if source.is_dir() else source.parent
    shards = sorted(source.rglob("*.tar")) if source.is_dir() else [source]
    pictures = [picture for shard in shards for picture in _in_shard(shard, root)] or _in_folder(source)
    if not pictures:
        raise ValueError(
            f"{source} holds no pictures: files ending in {', '.join(SUFFIXES)}, or .tar shards of them, are expected."
        )
    return sorted(pictures, key=lambda picture: picture.key)


def captioned(pictures: list[Picture]) -> list[Picture]:
    """Those that have a caption.

    Raises:
        ValueError: none has.
    """
    chosen = [picture for picture in pictures if picture.caption is not None]
    if not chosen:
        raise ValueError(
            f"None of the {len(pictures)} pictures has a caption. Put the text for {pictures[0].key} into a .txt file "
            'of the same name, or into metadata.jsonl: {"file_name": "...", "text": "..."}.'
        )
    return chosen


def _in_folder(folder: Path) -> list[Picture]:
    captions = {}
    for table in sorted(folder.rglob("metadata.jsonl")):
        captions |= _captions(table)
    return [
        Picture(path.relative_to(folder).as_posix(), captions.get(path) or _text_beside(path), path)
        for path in folder.rglob("*")
        if path.suffix.lower() in SUFFIXES and path.is_file()
    ]


def _captions(table: Path) -> dict[Path, str]:
    """Captions of a ``metadata.jsonl`` by picture."""
    captions = {}
    for number, line in enumerate(table.read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip():
            continue
        try:
            entry = json.loads(line)
            captions[table.parent / entry["file_name"]] = _caption_of(entry)
        except (json.JSONDecodeError, KeyError, TypeError) as error:
            raise ValueError(
                f'{table}, line {number} cannot be understood ({error}). Write {{"file_name": "...", "text": "..."}}.'
            ) from error
    return captions


def _text_beside(picture: Path) -> str | None:
    text = picture.with_suffix(".txt")
    return text.read_text(encoding="utf-8").strip() if text.is_file() else None


def _caption_of(entry: Mapping) -> str | None:
    return next((str(entry[field]).strip() for field in CAPTION_FIELDS if entry.get(field) is not None), None)


def _in_shard(shard: Path, root: Path) -> list[Picture]:
    places, captions = {}, {}
    try:
        with tarfile.open(shard, "r:") as archive:
            for member in filter(tarfile.TarInfo.isfile, archive):
                folder, _, name = member.name.rpartition("/")
                stem, _, suffix = name.partition(".")
                key = f"{folder}/{stem}".lstrip("./")
                if f".{suffix.lower()}" in SUFFIXES:
                    places[key] = member.offset_data, member.size
                elif suffix == "txt":
                    captions[key] = archive.extractfile(member).read().decode().strip()
                elif suffix == "json" and (caption := _caption_of(json.load(archive.extractfile(member)))) is not None:
                    captions.setdefault(key, caption)
    except (tarfile.TarError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(f"{shard} is damaged or no uncompressed .tar shard: {error}.") from error
    name = shard.relative_to(root).as_posix()
    return [Picture(f"{name}/{key}", captions.get(key), shard, *place) for key, place in places.items()]
