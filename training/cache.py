"""Latents, text embeddings and activations on disk, and how ComfyUI's own nodes make them."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import zlib
from collections.abc import Iterator
from pathlib import Path

import comfy.model_management
import comfy.sd
import torch
from torch import Tensor

from ..files import read_json, read_tensors, remove_left_behind, shown, write_tensors, write_text
from .cache_shards import FOLDER, Shards, Writer

Tensors = dict[str, Tensor]

EXTRA = "extra."  # begins names of what text encoders give beside embeddings: masks, token numbers, a second text
COMPLETE = "complete"  # folder of notes about large sets that were encoded as a whole
CHECKSUM = "crc32"  # in an entry's header: after a power failure a file may have its length, but zeros in it


class Cache:
    """Tensors on disk by a digest of all that they depend on: never stale, shared by runs, processes and machines.

    What a stage makes goes into shards, see :mod:`.cache_shards`; single entries, and all of earlier versions, are
    files of their own. Whoever writes a file writes it whole, under a name of its own, and then gives it its name; two
    that make the same one at once make the same, so that it does not matter who is last. An entry that is damaged
    counts as absent.

    Args:
        folder: of the cache; None keeps nothing.
    """

    def __init__(self, folder: Path | None):
        self.folder = folder
        self._damaged: set[bytes] = set()  # entries of shards that were found to be so
        self.refresh()

    def refresh(self) -> None:
        """Look which shards there are."""
        self.shards = None if self.folder is None else Shards(self.folder)

    def has(self, parts: tuple) -> bool:
        """Whether there is an entry of the length that it says; its values are not read."""
        if self.folder is None:
            return False
        digest = _digest(parts)
        if digest not in self._damaged and self.shards.has(digest):
            return True
        try:
            return bool(read_tensors(self._path(digest), mapped=True).content)
        except (OSError, ValueError):
            return False

    def get(self, parts: tuple) -> Tensors | None:
        """An entry; None if there is none, or a damaged one, which the log then names.

        Args:
            parts: strings and numbers on which the tensors depend.
        """
        if self.folder is None:
            return None
        digest = _digest(parts)
        if digest not in self._damaged and (found := self.shards.get(digest)) is not None:
            tensors, checksum, shard = found
            if tensors and checksum == _checksum(tensors):
                return tensors
            self._damaged.add(digest)
            logging.warning("An entry of %s is damaged and made again", shown(shard))
        return _read(self._path(digest))

    def put(self, parts: tuple, tensors: Tensors, writer: Writer | None = None) -> Tensors:
        """Keep tensors; gives them back as :meth:`get` will, in float16.

        Args:
            writer: puts them into a shard.

        Raises:
            OSError: they cannot be written, and nobody else has written them.
        """
        kept = _half(tensors)
        if self.folder is None:
            return kept
        digest = _digest(parts)
        if writer is not None:
            writer.put(digest, kept, _checksum(kept))
            return kept
        path = self._path(digest)
        try:
            write_tensors(path, kept, {CHECKSUM: f"{_checksum(kept):08x}"})
        except OSError:  # Windows replaces no file that another process is reading
            if _read(path) is None:
                raise
        return kept

    @contextlib.contextmanager
    def writing(self, most: int) -> Iterator[Writer]:
        """A writer of at most so many entries, which count from the end of the block on, however it ends."""
        writer = Writer(self.folder, most)
        try:
            yield writer
        finally:
            writer.close()
            self.refresh()

    def is_complete(self, parts: tuple) -> bool:
        """Whether all that a set needs was in these shards, and they are still there; none is opened.

        Args:
            parts: on which it depends.
        """
        try:
            return set(read_json(self._complete(parts), list[str])) <= set(self.shards.names)
        except (OSError, ValueError):
            return False

    def note_complete(self, parts: tuple) -> None:
        """See :meth:`is_complete`."""
        write_text(self._complete(parts), json.dumps(self.shards.names))

    def _complete(self, parts: tuple) -> Path:
        return self.folder / COMPLETE / f"{_digest(parts).hex()}.json"

    def remove_left_behind(self) -> None:
        """Remove what killed writers left."""
        if self.folder is not None:
            for folder in (*self.folder.glob("??"), self.folder / FOLDER):
                with contextlib.suppress(OSError):  # of somebody else's folder
                    remove_left_behind(folder)

    def _path(self, digest: bytes) -> Path:
        """Of an entry that is a file of its own."""
        return self.folder / digest.hex()[:2] / f"{digest.hex()}.safetensors"


def _digest(parts: tuple) -> bytes:
    return hashlib.blake2b(repr(parts).encode(), digest_size=20).digest()


def _read(path: Path) -> Tensors | None:
    try:
        tensors, header = read_tensors(path, mapped=False)
        if header.get(CHECKSUM, checksum := f"{_checksum(tensors):08x}") == checksum:  # version 0.1.0 wrote none
            return tensors
        problem = "it holds other bytes than were written"
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        problem = str(error)
    logging.warning("%s is damaged and made again (%s)", shown(path), shown(problem))
    return None


def _checksum(tensors: Tensors) -> int:
    number = 0
    for name in sorted(tensors):
        number = zlib.crc32(tensors[name].reshape(-1).view(torch.uint8).numpy(), number)
    return number


def _half(tensors: Tensors) -> Tensors:
    """Floating-point values only: sizes in pixels stay exact."""
    return {name: (x.half() if x.is_floating_point() else x).cpu().contiguous() for name, x in tensors.items()}


def fingerprint(*outputs: Tensor) -> str:
    """Digest of what a model makes of a fixed input: it tells weights, LoRAs and options apart."""
    data = b"".join(output.detach().float().cpu().numpy().tobytes() for output in outputs)
    return hashlib.blake2b(data, digest_size=16).hexdigest()


SYNTAX = ("(", ")", "embedding:")  # of prompts


def plain_tokens(clip: comfy.sd.CLIP, text: str, **options) -> dict:
    """Tokens of a text in which parentheses are parentheses, not weights, and no embeddings are called by name.

    ``\\(`` is ``(``, as in prompts, for many programs that write captions write it so.
    """
    plain = text.replace("embedding:", "Embedding:")  # CLIP knows no capitals
    return clip.tokenize(plain, disable_weights=True, **options)


def cut_tokens(clip: comfy.sd.CLIP, text: str, limit: int) -> dict:
    """The first tokens of :func:`plain_tokens`.

    Args:
        limit: how many, without those of beginning, end and padding.

    Raises:
        ValueError: the encoder takes texts of any length in one piece.
    """
    found, empty = (plain_tokens(clip, words, return_word_ids=True) for words in (text, ""))
    return {name: _cut(chunks, *empty[name], limit) for name, chunks in found.items()}


def _cut(chunks: list[list[tuple]], empty: list[tuple], limit: int) -> list[list[tuple]]:
    """Chunks of (token, weight, number of its word or 0) with the first ``limit`` words' tokens, as (token, weight).

    Args:
        empty: chunk of an empty text: beginning, end, padding.
    """
    if any(len(chunk) != len(empty) for chunk in chunks):
        raise ValueError("caption_limit is for text encoders that take texts in chunks of one length, as CLIP does.")
    words = [entry for chunk in chunks for entry in chunk if entry[2]][:limit]
    begin = next((place for place, entry in enumerate(chunks[0]) if entry[2]), 0)
    room = len(empty) - begin - 1
    parts = [words[place : place + room] for place in range(0, max(1, len(words)), room)]
    rebuilt = [empty[:begin] + part + empty[begin : len(empty) - len(part)] for part in parts]
    return [[entry[:2] for entry in chunk] for chunk in rebuilt]


@torch.no_grad()
def encode_text(clip: comfy.sd.CLIP, text: str, limit: int = 0) -> Tensors:
    """``text`` ``[tokens, width]`` and, where the encoder has one, ``pooled`` ``[P]``, as CLIPTextEncode makes them of
    plain text; other tensors (attention masks, token numbers, embeddings of a second encoder) by ``extra.NAME``.

    Args:
        limit: tokens after which the text is cut; 0 takes all of it.
    """
    tokens = cut_tokens(clip, text, limit) if limit else plain_tokens(clip, text)
    ((embedding, extra),) = clip.encode_from_tokens_scheduled(tokens)
    pooled = extra.get("pooled_output")
    others = {EXTRA + name: value for name, value in extra.items()
              if name != "pooled_output" and isinstance(value, Tensor)}  # fmt: skip
    return {"text": embedding[0]} | ({} if pooled is None else {"pooled": pooled[0]}) | others


def encode_pictures(vae: comfy.sd.VAE, pixels: Tensor) -> Tensor:
    """``[n, H, W, 3]`` -> most probable latents ``[n, C, h, w]`` (``[n, C, 1, h, w]`` of a VAE of videos), as VAEEncode
    makes them, not yet scaled."""
    room = vae.memory_used_encode(pixels.movedim(-1, 1).shape, vae.vae_dtype)
    comfy.model_management.load_models_gpu([vae.patcher], memory_required=room)
    # a VAE of videos takes several pictures for frames of one
    parts = pixels.split(1) if getattr(vae, "latent_dim", 2) == 3 else [pixels]
    # it is loaded by now: weights that moved in here could not be trained through
    with torch.inference_mode():  # ComfyUI needs it for tiles, which it takes where memory is short
        latents = torch.cat([vae.encode(part) for part in parts])
    return latents.clone()


def clip_fingerprint(clip: comfy.sd.CLIP) -> str:
    return fingerprint(*encode_text(clip, "a photo of a cat, 1234").values())


def vae_fingerprint(vae: comfy.sd.VAE) -> str:
    probe = torch.rand(64, 64, 3, generator=torch.Generator().manual_seed(0))
    return fingerprint(encode_pictures(vae, probe[None]))
