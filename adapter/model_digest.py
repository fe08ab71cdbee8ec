"""Which base model a diffusion model is: a digest of its weights, quick enough to be asked for in a graph."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import torch
from comfy.model_patcher import ModelPatcher
from torch import Tensor

SAMPLES = 256  # numbers of each weight that are looked at; SDXL has 1,680 weights


def model_digest(model: ModelPatcher) -> str:
    """SHA-256 in hexadecimal of names, shapes and a sample of the numbers of all weights, with the LoRAs on them.

    The same for every clone of a model, whatever is applied to its attention, and wherever its weights are at the
    moment. Another precision of the same weights counts as another model.
    """
    total = hashlib.sha256()
    backup = {key: kept.weight for key, kept in model.backup.items()}  # weights into which ComfyUI has put LoRAs
    for key, weight in sorted(model.model.diffusion_model.state_dict(prefix="diffusion_model.").items()):
        total.update(f"{key} {tuple(weight.shape)}".encode())
        total.update(_sampled(backup.get(key, weight)))
    for key, patches in sorted(model.patches.items(), key=lambda item: str(item[0])):
        if str(key).startswith("diffusion_model."):
            total.update(str(key).encode())
            for part in _parts(patches):
                total.update(_sampled(part) if isinstance(part, Tensor) else repr(part).encode())
    return total.hexdigest()


def _sampled(weight: Tensor) -> bytes:
    """Evenly spaced numbers of a weight, as float32."""
    flat = weight.detach().flatten()
    chosen = flat[:: max(1, len(flat) // SAMPLES)][:SAMPLES]
    return chosen.to(torch.float32).cpu().contiguous().numpy().tobytes()


def _parts(value: object) -> Iterator[Tensor | float | str]:
    """Tensors, numbers and texts of a patch, in order: tuples and lists, and objects of LoRAs that hold ``weights``."""
    if isinstance(value, (tuple, list)):
        for item in value:
            yield from _parts(item)
    elif isinstance(value, (Tensor, float, int, str)):
        yield value
    elif hasattr(value, "weights"):
        yield from _parts(value.weights)
