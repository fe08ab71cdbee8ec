"""LATENTs of ComfyUI, taken apart and put together again."""

from __future__ import annotations

from collections.abc import Sequence

import comfy.sample
import torch
from comfy.model_patcher import ModelPatcher
from torch import Tensor

RATIOS = ("downscale_ratio_spacial", "downscale_ratio_temporal")  # of empty latents, in newer ComfyUI


def fitting(model: ModelPatcher, latent: dict) -> dict:
    """The LATENT as samplers of ComfyUI give it to a model: an empty one gets the model's channels and dimensions.

    Raises:
        ValueError: it is empty, nested, or of another kind of model.
    """
    samples = latent["samples"]
    if samples.is_nested:
        raise ValueError("Search Best Pictures takes latents of pictures or videos, not those with sound of their own.")
    if not samples.numel():
        raise ValueError(f"The latent has no picture in it: its shape is {list(samples.shape)}.")
    ratios = {name: latent[name] for name in RATIOS if name in latent}
    samples = comfy.sample.fix_empty_latent_channels(model, samples, **ratios)
    wanted = model.get_model_object("latent_format").latent_channels
    if samples.shape[1] != wanted:
        raise ValueError(
            f"The latent has {samples.shape[1]} channels, but the model works on {wanted}; encode the picture with the "
            "VAE of this model, or use its own empty latent."
        )
    return {name: value for name, value in latent.items() if name not in RATIOS} | {"samples": samples}


def one_by_one(latent: dict) -> list[dict]:
    """A LATENT for every latent of the batch, with its own mask and place in the batch, as *Latent From Batch* does."""
    samples, mask = latent["samples"], latent.get("noise_mask")
    if len(samples) == 1:
        return [latent]
    places = latent.get("batch_index", range(len(samples)))
    parts = []
    for number, place in enumerate(places):
        part = {**latent, "samples": samples[number : number + 1], "batch_index": [place]}
        if mask is not None and len(mask) == len(samples) and mask.ndim >= samples.ndim - 1:
            part["noise_mask"] = mask[number : number + 1]
        parts.append(part)
    return parts


def joined(parts: Sequence[dict], kept: Sequence[Sequence[Tensor]]) -> dict:
    """One LATENT of the results ``[rows, C, ...]`` that were kept for every part."""
    whole = {**parts[0], "samples": torch.cat([result for results in kept for result in results])}
    whole.pop("batch_index", None)  # their seeds differ, so that no index draws this noise again
    masks = [part.get("noise_mask") for part in parts]
    if masks[0] is not None and len(parts) > 1:
        whole["noise_mask"] = torch.cat(
            [mask for mask, results in zip(masks, kept, strict=True) for _ in range(len(results))]
        )
    return whole
