"""Trained weights as float16 safetensors with a JSON header, and pictures sampled from them."""

from __future__ import annotations

import json
import os
from pathlib import Path

import comfy.sample
import torch
from PIL import Image
from safetensors.torch import save_file

from .model import load_quickstart


def write_weights(file: Path, weights: dict[str, torch.Tensor], facts: dict) -> None:
    """Write a state dict in half precision; ``facts`` (JSON) go into the header as ``quickstart``."""
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_suffix(".part")
    half = {name: weight.detach().half().contiguous() for name, weight in weights.items()}
    save_file(half, temporary, {"quickstart": json.dumps(facts)})
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
