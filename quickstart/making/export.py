"""Trained weights as float16 safetensors with a JSON header, and pictures sampled from them.

Exported weights of base model and adapters are multiples of a power of two, one for each tensor: git packs them
to half their size. The base's layers of the highest resolution, a tenth of all weights, decide grain and edges and are
rounded less. The reader's are bytes, to be multiplied by a power of two.
"""

from __future__ import annotations

import json
import math
import os
from pathlib import Path

import comfy.sample
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import save_file

from ..model import load_quickstart

# largest rounding error (root mean square), in standard deviations of a tensor
ROUNDING, ROUNDING_OF_DETAIL = 0.045, 0.005
DETAIL = tuple(f"unet.{block}." for block in ("input_blocks.0", "input_blocks.1", "input_blocks.2",
               "output_blocks.3.2", "output_blocks.4", "output_blocks.5", "out"))  # fmt: skip


def rounded(weights: dict[str, torch.Tensor], error: float = ROUNDING) -> dict[str, torch.Tensor]:
    """Matrices and convolutions as multiples of a power of two; biases and norms as they are, with 0 all of them."""
    if not error:
        return weights
    steps = {
        name: _step(weight.float().std().item(), ROUNDING_OF_DETAIL if name.startswith(DETAIL) else error)
        for name, weight in weights.items()
        if weight.ndim > 1
    }
    return {**weights, **{name: (weights[name].float() / step).round() * step for name, step in steps.items()}}


def _step(deviation: float, error: float) -> float:
    """Power of two whose rounding, uniform, has at most ``error`` times the standard deviation."""
    return 2.0 ** math.floor(math.log2(deviation * error * math.sqrt(12)))


def export(source: Path, target: Path, error: float) -> None:
    """Write a file's weights in half precision and with its header; ``error`` as in :func:`rounded`."""
    weights, header = _read(source)
    _write(target, halved(rounded(weights, error)), header)


def export_as_bytes(source: Path, target: Path) -> None:
    """Write matrices and convolutions as int8; what each is to be multiplied by is in the header's ``steps``."""
    weights, header = _read(source)
    largest = {name: weight.abs().max().item() for name, weight in weights.items() if weight.ndim > 1}
    steps = {name: 2.0 ** math.ceil(math.log2(value / 127)) for name, value in largest.items()}
    integers = {name: (weights[name].float() / step).round().to(torch.int8) for name, step in steps.items()}
    _write(target, {**halved(weights), **integers}, {**header, "steps": json.dumps(steps)})


def write_weights(file: Path, weights: dict[str, torch.Tensor], facts: dict) -> None:
    """Write a state dict in half precision; ``facts`` (JSON) go into the header as ``quickstart``."""
    _write(file, halved(weights), {"quickstart": json.dumps(facts)})


def read_weights(file: Path) -> tuple[dict[str, torch.Tensor], dict]:
    """State dict in float32, and the facts of the header."""
    weights, header = _read(file)
    steps = json.loads(header.get("steps", "{}"))
    floats = {name: weight.float() * steps.get(name, 1) for name, weight in weights.items()}
    return floats, json.loads(header["quickstart"])


def halved(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The same in half precision."""
    return {name: weight.detach().half() for name, weight in weights.items()}


def _read(file: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    with safe_open(file, "pt") as opened:
        return {name: opened.get_tensor(name) for name in opened.keys()}, opened.metadata()  # noqa: SIM118


def _write(file: Path, weights: dict[str, torch.Tensor], header: dict[str, str]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_suffix(".part")
    save_file({name: weight.contiguous() for name, weight in weights.items()}, temporary, header)
    os.replace(temporary, file)


def sample(
    folder: Path, prompts: list[str], seed: int, steps: int = 20, cfg: float = 3.0, sampler: str = "euler"
) -> torch.Tensor:
    """One picture per prompt with ComfyUI's sampler: ``[len(prompts), 64, 64, 3]`` in 0…1."""
    model, clip, vae = load_quickstart(folder)
    empty = clip.encode_from_tokens_scheduled(clip.tokenize(""))
    pictures = []
    for i, prompt in enumerate(prompts):
        latent = torch.zeros(1, 12, 32, 32)
        noise = comfy.sample.prepare_noise(latent, seed + i)
        positive = clip.encode_from_tokens_scheduled(clip.tokenize(prompt))
        result = comfy.sample.sample(
            model, noise, steps, cfg, sampler, "normal", positive, empty, latent, seed=seed + i, disable_pbar=True
        )
        pictures.append(vae.decode(result))
    return torch.cat(pictures)


def write_sheet(file: Path, pictures: torch.Tensor, columns: int, zoom: int = 2) -> None:
    """Pictures ``[rows · columns, H, W, 3]`` as one PNG."""
    count, height, width, _ = pictures.shape
    grid = pictures.reshape(count // columns, columns, height, width, 3).transpose(1, 2)
    pixels = (grid.reshape(-1, columns * width, 3).clamp(0, 1) * 255).round().byte().numpy()
    enlarged = pixels.repeat(zoom, 0).repeat(zoom, 1)
    Image.fromarray(enlarged).save(file)
