"""Pictures and captions -> latents and text embeddings, as ComfyUI's own nodes make them, kept on disk."""

from __future__ import annotations

import hashlib
import logging
import threading
from collections.abc import Callable
from pathlib import Path

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


def plain_tokens(clip: comfy.sd.CLIP, text: str) -> dict:
    """Tokens of a text in which parentheses are parentheses, not weights, and no embeddings are called by name.

    ``\\(`` is ``(``, as in prompts, for many programs that write captions write it so.
    """
    return clip.tokenize(text.replace("embedding:", "Embedding:"), disable_weights=True)  # CLIP knows no capitals


@torch.no_grad()
def encode_text(clip: comfy.sd.CLIP, text: str) -> Tensors:
    """``text`` ``[tokens, width]`` and, where the encoder has one, ``pooled`` ``[P]``, as CLIPTextEncode makes them of
    plain text."""
    ((embedding, extra),) = clip.encode_from_tokens_scheduled(plain_tokens(clip, text))
    pooled = extra.get("pooled_output")
    return {"text": embedding[0]} | ({} if pooled is None else {"pooled": pooled[0]})


@torch.no_grad()
def encode_picture(vae: comfy.sd.VAE, pixels: Tensor) -> Tensor:
    """``[H, W, 3]`` -> the latent's most probable value ``[C, h, w]``, as VAEEncode makes it, not yet scaled."""
    return vae.encode(pixels[None])[0]


def clip_fingerprint(clip: comfy.sd.CLIP) -> str:
    return fingerprint(*encode_text(clip, "a photo of a cat, 1234").values())


def vae_fingerprint(vae: comfy.sd.VAE) -> str:
    probe = torch.rand(64, 64, 3, generator=torch.Generator().manual_seed(0))
    return fingerprint(encode_picture(vae, probe))
