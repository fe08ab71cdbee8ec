"""A candidate of :mod:`.transformer_attention` as an adapter of this pack: a file that ComfyUI samples with."""

from __future__ import annotations

from pathlib import Path

import comfy.samplers
import torch
from comfy.model_patcher import ModelPatcher
from torch import Tensor, nn

from benchmarks.small_transformer import Latents, Scenes, to_pictures
from iqa_adapter.adapter.adapter import Adapter, LayerWeights
from iqa_adapter.adapter.apply import apply_adapter
from iqa_adapter.adapter.checkpoint import load_adapter, save_adapter
from iqa_adapter.adapter.metadata import Metadata
from iqa_adapter.adapter.projection import QualityProjection
from iqa_adapter.adapter.sites import family, sites
from iqa_adapter.adapter.tokens import embed_quality


def as_adapter(candidate: nn.Module, model: ModelPatcher, tokens: int, file: Path) -> Adapter:
    """A candidate with attention of its own, through ``file``."""
    found = sites(model.model.diffusion_model)
    projection = QualityProjection(candidate.projection.in_features, tokens, found[0].context_width)
    projection.proj.load_state_dict(candidate.projection.state_dict())
    projection.norm.load_state_dict(candidate.norm.state_dict())
    weights = tuple(LayerWeights(*part.detach().chunk(2)) for part in candidate.weights)
    described = Metadata(metrics=({"name": "blur"}, {"name": "noise"}), base_model=family(found),
                         sites=tuple(site.name for site in found))  # fmt: skip
    save_adapter(Adapter(file.name, described, projection.requires_grad_(False), weights), file)
    return load_adapter(file)


def draw(model: ModelPatcher, held: Scenes, noise: Tensor, steps: int, adapter: Adapter, quality: Tensor) -> Tensor:
    """Pictures of held-out prompts, as many as there are noises.

    Args:
        quality: ``[2]`` standardised.
    """
    context, pooled = held.context[: len(noise)].float(), held.pooled[: len(noise)].float()
    guider = comfy.samplers.CFGGuider(apply_adapter(model, embed_quality(adapter, quality[None])))
    guider.set_conds([[context, {"pooled_output": pooled}]], [])
    guider.set_cfg(1.0)
    sampler, sigmas = comfy.samplers.sampler_object("euler"), torch.linspace(1, 0, steps + 1)
    latents = guider.sample(noise, torch.zeros_like(noise), sampler, sigmas, disable_pbar=True, seed=0)
    return to_pictures(latents * Latents.scale_factor)
