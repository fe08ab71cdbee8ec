"""Narrow UNets with the block structure of SD1.5, SDXL and SSD-1B and random weights, in ComfyUI and diffusers."""

from __future__ import annotations

import dataclasses

import comfy.ldm.flux.model
import comfy.model_management
import comfy.model_patcher
import comfy.samplers
import comfy.supported_models
import comfy.utils
import torch
from diffusers import UNet2DConditionModel

from iqa_adapter.adapter import adapter, metadata, projection, tokens
from iqa_adapter.adapter import sites as layers

WIDTH = 32  # of the context
COMMON = {
    "image_size": 32,
    "in_channels": 4,
    "out_channels": 4,
    "use_spatial_transformer": True,
    "legacy": False,
    "context_dim": WIDTH,
    "use_temporal_attention": False,
    "use_temporal_resblock": False,
}
XL = {  # ComfyUI fixes the head width of SDXL at 64
    "model_channels": 64,
    "num_classes": "sequential",
    "adm_in_channels": 2816,
    "use_linear_in_transformer": True,
}
CONFIGS = {
    "SD1.5": {
        "model_channels": 32,
        "num_res_blocks": [2, 2, 2, 2],
        "channel_mult": [1, 2, 4, 4],
        "transformer_depth": [1, 1, 1, 1, 1, 1, 0, 0],
        "transformer_depth_middle": 1,
        "transformer_depth_output": [1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0],
        "use_linear_in_transformer": False,
        "adm_in_channels": None,
        "num_heads": 8,
    },
    "SDXL": XL
    | {
        "num_res_blocks": [2, 2, 2],
        "channel_mult": [1, 2, 4],
        "transformer_depth": [0, 0, 2, 2, 10, 10],
        "transformer_depth_middle": 10,
        "transformer_depth_output": [0, 0, 0, 2, 2, 2, 10, 10, 10],
    },
    "SSD-1B": XL
    | {
        "num_res_blocks": [2, 2, 2],
        "channel_mult": [1, 2, 4],
        "transformer_depth": [0, 0, 2, 2, 4, 4],
        "transformer_depth_middle": -1,
        "transformer_depth_output": [0, 0, 0, 1, 1, 2, 10, 4, 4],
    },
}
LAYER_COUNTS = {"SD1.5": 16, "SDXL": 70, "SSD-1B": 34}
XL_DIFFUSERS = {
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    "block_out_channels": (64, 128, 256),
    "attention_head_dim": (1, 2, 4),
    "use_linear_projection": True,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 2816,
}
DIFFUSERS = {
    "SD1.5": {"block_out_channels": (32, 64, 128, 128), "attention_head_dim": 8},
    "SDXL": XL_DIFFUSERS | {"transformer_layers_per_block": (1, 2, 10)},
    "SSD-1B": XL_DIFFUSERS
    | {
        "mid_block_type": "UNetMidBlock2D",
        "transformer_layers_per_block": (1, 2, 4),
        "reverse_transformer_layers_per_block": ([4, 4, 10], [2, 1, 1], 1),
    },
}


def diffusers_unet(family: str) -> UNet2DConditionModel:
    torch.manual_seed(0)
    unet = UNet2DConditionModel(sample_size=16, cross_attention_dim=WIDTH, **DIFFUSERS[family])
    return unet.eval().requires_grad_(False)


def comfy_model(
    family: str, unet: UNet2DConditionModel | None = None, dtype=torch.float32, manual_cast=None, **layout
) -> comfy.model_patcher.ModelPatcher:
    """A ComfyUI model with the weights of ``unet``, or with random ones; ``layout`` replaces what its family has."""
    config_class = comfy.supported_models.SD15 if family == "SD1.5" else comfy.supported_models.SDXL
    config = config_class(COMMON | CONFIGS[family] | layout)
    config.set_inference_dtype(dtype, manual_cast)
    torch.manual_seed(1)
    model = config.get_model({}, device="cpu")
    if unet is not None:
        _copy_weights(unet, model.diffusion_model, config.unet_config)
    else:
        randomise(model.diffusion_model)
    device = torch.device("cpu")
    return comfy.model_patcher.ModelPatcher(model, load_device=device, offload_device=device)


def loaded_precision(family: str) -> dict[str, torch.dtype | None]:
    """In which ComfyUI's loader would make a model, by its options and this device."""
    config_class = comfy.supported_models.SD15 if family == "SD1.5" else comfy.supported_models.SDXL
    known, management = config_class.supported_inference_dtypes, comfy.model_management
    dtype = management.unet_dtype(supported_dtypes=known)
    return {"dtype": dtype, "manual_cast": management.unet_manual_cast(dtype, management.get_torch_device(), known)}


def tiny_dit() -> comfy.model_patcher.ModelPatcher:
    """A Flux model of two blocks, for messages about other families."""
    values = {
        "in_channels": 16,
        "out_channels": 16,
        "vec_in_dim": 8,
        "context_in_dim": 8,
        "hidden_size": 16,
        "mlp_ratio": 1.0,
        "num_heads": 1,
        "depth": 1,
        "depth_single_blocks": 1,
        "axes_dim": [4, 6, 6],
        "theta": 10000,
        "patch_size": 2,
        "qkv_bias": True,
        "guidance_embed": False,
        "txt_ids_dims": [],
    }
    known = {field.name for field in dataclasses.fields(comfy.ldm.flux.model.FluxParams)}  # differ between versions
    values = {name: value for name, value in values.items() if name in known}
    config = comfy.supported_models.Flux({"image_model": "flux", **values})
    config.set_inference_dtype(torch.float32, None)
    device = torch.device("cpu")
    return comfy.model_patcher.ModelPatcher(config.get_model({}), load_device=device, offload_device=device)


def _copy_weights(unet: UNet2DConditionModel, target: torch.nn.Module, config: dict) -> None:
    names = comfy.utils.unet_to_diffusers(config)
    state = {names[name]: value for name, value in unet.state_dict().items()}
    missing, unexpected = target.load_state_dict(state, strict=False)
    assert not missing and not unexpected, (missing, unexpected)


def randomise(module: torch.nn.Module) -> None:
    """ComfyUI's layers start uninitialised; the last convolutions of UNets start at zero."""
    generator = torch.Generator().manual_seed(2)
    for name, parameter in module.named_parameters():
        if parameter.ndim == 0:  # a factor, which keeps its initial value
            continue
        if parameter.ndim == 1:
            value = torch.ones(parameter.shape) if name.endswith("weight") else torch.zeros(parameter.shape)
        else:
            value = torch.randn(parameter.shape, generator=generator) / parameter[0].numel() ** 0.5
        parameter.data = value.to(parameter.dtype)
        parameter.requires_grad_(False)


def random_adapter(
    model: comfy.model_patcher.ModelPatcher, metrics=("topiq_nr", "laion_aes"), tokens=2, mlp=False, seed=3, **fields
):
    """An adapter of random weights that fits ``model``; ``fields`` go to its metadata."""
    generator = torch.Generator().manual_seed(seed)

    def random(*shape):
        return torch.randn(*shape, generator=generator) / shape[-1] ** 0.5

    description = {"metrics": tuple({"name": name} for name in metrics), **fields}
    data = metadata.Metadata(**description)
    encoding = projection.QualityEncoding(data.use_flag, data.positional_octaves)
    found = layers.sites(model.model.diffusion_model)
    width = found[0].context_width
    proj = projection.QualityProjection(encoding.width(len(metrics)), tokens, width, 128 * mlp)
    proj.load_state_dict({name: random(*value.shape, 1)[..., 0] for name, value in proj.state_dict().items()})
    weights = tuple(
        adapter.LayerWeights(random(layer.width, layer.context_width), random(layer.width, layer.context_width))
        for layer in found
    )
    return adapter.Adapter("random.safetensors", data, proj.requires_grad_(False), weights)


def quality_tokens(adapter, *rows: tuple[float, ...]):
    """Tokens of standardised scores, one row per image."""
    return tokens.embed_quality(adapter, torch.tensor(rows))


def conditioning(seed: int, tokens: int = 7, width: int = WIDTH, **options) -> list:
    """ComfyUI conditioning of random text embeddings."""
    generator = torch.Generator().manual_seed(seed)
    embedding = torch.randn(1, tokens, width, generator=generator)
    pooled = {"pooled_output": torch.randn(1, 1280, generator=generator)}
    return [[embedding, {**pooled, **options}]]


def latent(batch: int = 1, height: int = 16, width: int = 16, seed: int = 5) -> torch.Tensor:
    return torch.randn(batch, 4, height, width, generator=torch.Generator().manual_seed(seed))
