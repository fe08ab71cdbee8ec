"""Digests of what a training starts from: the base model with its LoRAs, an adapter."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

import comfy.sd
import torch
from comfy.model_patcher import ModelPatcher
from torch import Tensor

from ..adapter.adapter import Adapter

THREADS = 8  # hashing lets other threads run


def of_tensors(tensors: Iterable[Tensor]) -> str:
    """Digest of shapes and values, in order.

    Values are rounded to float16, so that a checkpoint is the same whether ComfyUI holds it in float32, float16 or
    bfloat16, which depends on the machine. About a gigabyte per second and thread: a few seconds for SDXL.
    """
    with ThreadPoolExecutor(THREADS) as pool:
        return _joined(pool.map(_of_tensor, tensors))


@torch.inference_mode()
def _of_tensor(tensor: Tensor) -> bytes:
    values = tensor.detach().cpu()
    values = (values.half() if values.is_floating_point() else values).contiguous()
    digest = hashlib.blake2b(repr(tuple(values.shape)).encode(), digest_size=16)
    digest.update(values.flatten().view(torch.uint8).numpy())
    return digest.digest()


def of_model(patcher: ModelPatcher) -> str:
    """Digest of a model's weights as they were loaded, and of the patches (LoRAs and the like) on them.

    ``model_sampling`` counts apart, see :func:`of_sampling`, for nodes put another one in its place.
    """
    known = {key: entries for key, entries in patcher.get_key_patches().items() if not key.startswith("model_sampling")}
    tensors, words = [], []
    for key in sorted(known):
        (weight, *_), *patches = known[key]
        tensors.append(weight)
        words.append(key)
        _take_apart(patches, tensors, words)
    return _joined([of_tensors(tensors).encode(), repr(words).encode()])


def of_sampling(patcher: ModelPatcher) -> str:
    """Digest of the noise schedule and of what the model predicts."""
    sampling = patcher.get_model_object("model_sampling")
    words = [cls.__name__ for cls in type(sampling).__mro__]
    state = sampling.state_dict()
    return _joined([repr([*words, sorted(state)]).encode(), of_tensors(state[key] for key in sorted(state)).encode()])


def of_text_encoder(clip: comfy.sd.CLIP) -> str:
    """Digest of weights, patches and the layer that is taken."""
    return _joined([of_model(clip.patcher).encode(), repr(clip.layer_idx).encode()])


def of_adapter(adapter: Adapter) -> str:
    projection = adapter.projection.state_dict()
    weights = [weight for layer in adapter.layers for weight in (layer.key, layer.value)]
    return of_tensors([*(projection[key] for key in sorted(projection)), *weights])


def _take_apart(value: object, tensors: list[Tensor], words: list[str]) -> None:
    """Tensors and words of a patch, which is made of tuples, numbers and objects with ``weights``."""
    if isinstance(value, Tensor):
        tensors.append(value)
    elif isinstance(value, (list, tuple)):
        words.append(type(value).__name__)
        for part in value:
            _take_apart(part, tensors, words)
    elif hasattr(value, "weights"):
        words.append(type(value).__name__)
        _take_apart(value.weights, tensors, words)
    else:
        plain = value is None or isinstance(value, (str, bool, int, float))
        words.append(repr(value) if plain else getattr(value, "__qualname__", type(value).__name__))


def _digest(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def _joined(parts: Iterable[bytes]) -> str:
    return _digest(b"\n".join(parts))
