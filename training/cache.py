"""Pictures and captions -> latents and text embeddings, as ComfyUI's own nodes make them, kept on disk."""

from __future__ import annotations

import hashlib
import logging
import threading
from collections.abc import Callable
from pathlib import Path

import comfy.model_management
import comfy.sd
import torch
from torch import Tensor

from ..files import read_tensors, write_tensors

Tensors = dict[str, Tensor]


class Cache:
    """Tensors on disk by a digest of all that they depend on: never stale, shared by runs and processes.

    Args:
        folder: gets one small ``.safetensors`` file per entry; None keeps nothing.
    """

    def __init__(self, folder: Path | None):
        self.folder = folder
        self._making = threading.Lock()  # models do one thing at a time, though threads read

    def get(self, parts: tuple, make: Callable[[], Tensors]) -> Tensors:
        """What ``make`` gives, in float16, made once.

        Args:
            parts: strings and numbers on which the result depends.
        """
        if self.folder is None:
            return _half(make())
        digest = hashlib.blake2b(repr(parts).encode(), digest_size=20).hexdigest()
        path = self.folder / digest[:2] / f"{digest}.safetensors"
        with self._making:
            if path.is_file():
                try:
                    return read_tensors(path).content
                except ValueError:  # truncated, by a full disk or a machine that lost power
                    logging.warning("%s is damaged and made again.", path)
            write_tensors(path, _half(make()))
        return read_tensors(path).content


def _half(tensors: Tensors) -> Tensors:
    """Floating-point values only: sizes in pixels stay exact."""
    return {name: (x.half() if x.is_floating_point() else x).contiguous() for name, x in tensors.items()}


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
    plain text.

    Args:
        limit: tokens after which the text is cut; 0 takes all of it.
    """
    tokens = cut_tokens(clip, text, limit) if limit else plain_tokens(clip, text)
    ((embedding, extra),) = clip.encode_from_tokens_scheduled(tokens)
    pooled = extra.get("pooled_output")
    return {"text": embedding[0]} | ({} if pooled is None else {"pooled": pooled[0]})


def encode_picture(vae: comfy.sd.VAE, pixels: Tensor) -> Tensor:
    """``[H, W, 3]`` -> the latent's most probable value ``[C, h, w]``, as VAEEncode makes it, not yet scaled."""
    image = pixels[None]
    room = vae.memory_used_encode(image.movedim(-1, 1).shape, vae.vae_dtype)
    comfy.model_management.load_models_gpu([vae.patcher], memory_required=room)
    with torch.inference_mode():  # ComfyUI needs it for tiles, which it takes where memory is short
        latent = vae.encode(image)[0]  # the VAE is loaded: weights that moved in here could not be trained through
    return latent.clone()


def clip_fingerprint(clip: comfy.sd.CLIP) -> str:
    return fingerprint(*encode_text(clip, "a photo of a cat, 1234").values())


def vae_fingerprint(vae: comfy.sd.VAE) -> str:
    probe = torch.rand(64, 64, 3, generator=torch.Generator().manual_seed(0))
    return fingerprint(encode_picture(vae, probe))
