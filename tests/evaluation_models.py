"""Narrow random models for evaluations: a checkpoint of SD1.5 for ComfyUI's loader, and SDXL with its encoders."""

from __future__ import annotations

from pathlib import Path

import comfy.model_patcher
import comfy.sd
import comfy.supported_models
import models
import safetensors.torch
import torch
from comfy.taesd.taesd import TAESD

from iqa_adapter.adapter.adapter import Adapter, LayerWeights
from iqa_adapter.adapter.checkpoint import save_adapter
from iqa_adapter.adapter.metadata import Metadata
from iqa_adapter.adapter.projection import QualityEncoding, QualityProjection
from iqa_adapter.adapter.sites import sites

SD15 = {  # what ComfyUI tells SD1.5 by stays: 320 channels, a context of 768; one level instead of four
    **models.COMMON,
    "context_dim": 768,
    "model_channels": 320,
    "num_res_blocks": [1],
    "channel_mult": [1],
    "transformer_depth": [1],
    "transformer_depth_middle": 1,
    "transformer_depth_output": [1, 1],
    "use_linear_in_transformer": False,
    "adm_in_channels": None,
    "num_heads": 8,
}
TEXT_WIDTH = 16  # of each of SDXL's two encoders
NARROW_TEXT = {"hidden_size": TEXT_WIDTH, "num_attention_heads": 2, "intermediate_size": 32, "num_hidden_layers": 3}


def sd15_checkpoint(path: Path) -> torch.nn.Module:
    """A checkpoint file of SD1.5 with one level, CLIP as it is, and a tiny VAE; all weights random.

    Returns:
        Its UNet.
    """
    config = comfy.supported_models.SD15(SD15)
    config.set_inference_dtype(torch.float32, None)
    unet = _random(config.get_model({}, device="cpu").diffusion_model)
    clip = _random(comfy.sd.CLIP(config.clip_target({})).cond_stage_model)
    state = {f"model.diffusion_model.{name}": value for name, value in unet.state_dict().items()}
    for name, value in clip.state_dict().items():
        state[f"cond_stage_model.{name.removeprefix('clip_l.')}"] = value
    state |= {f"first_stage_model.{name}": value for name, value in _random(TAESD()).state_dict().items()}
    safetensors.torch.save_file({name: value.half().contiguous() for name, value in state.items()}, path)
    return unet


def sdxl() -> tuple:
    """Model, text encoders and VAE of a narrow SDXL."""
    options = {f"{name}_model_config": {**NARROW_TEXT, "projection_dim": TEXT_WIDTH} for name in ("clip_l", "clip_g")}
    target = comfy.supported_models.SDXL({**models.COMMON, **models.CONFIGS["SDXL"]}).clip_target({})
    clip = comfy.sd.CLIP(target, model_options=options)
    _random(clip.cond_stage_model)
    adm = TEXT_WIDTH + 6 * 256  # the pooled prompt, and six sizes in 256 numbers each
    config = comfy.supported_models.SDXL({**models.COMMON, **models.CONFIGS["SDXL"], "adm_in_channels": adm})
    config.set_inference_dtype(torch.float32, None)
    model, device = config.get_model({}, device="cpu"), torch.device("cpu")
    _random(model.diffusion_model)
    patcher = comfy.model_patcher.ModelPatcher(model, load_device=device, offload_device=device)
    return patcher, clip, comfy.sd.VAE(sd=_random(TAESD()).state_dict())


def adapter_file(path: Path, unet: torch.nn.Module, metadata: Metadata | None, width: int = 1) -> None:
    """A random adapter for a UNet, 2 tokens; without metadata as the authors' files, with ``width`` inputs."""
    found, generator = sites(unet), torch.Generator().manual_seed(3)

    def random(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator) / shape[-1] ** 0.5

    described = metadata or Metadata(metrics=tuple({"name": f"m{i}"} for i in range(width)))
    inputs = QualityEncoding(False, 0).width(described.quality_width)
    projection = QualityProjection(inputs, 2, found[0].context_width)
    layers = tuple(LayerWeights(random(s.width, s.context_width), random(s.width, s.context_width)) for s in found)
    adapter = Adapter(path.name, described, projection.requires_grad_(False), layers)
    save_adapter(adapter, path)
    if metadata is None:  # the header goes
        safetensors.torch.save_file(safetensors.torch.load_file(path), path)


def _random(module: torch.nn.Module) -> torch.nn.Module:
    models.randomise(module)
    return module
