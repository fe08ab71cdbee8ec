"""SD1.5 at any width: UNet, text encoder and VAE with the same random weights in ComfyUI and in diffusers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

PARTS = ("unet", "text", "vae")


@dataclass(frozen=True)
class Size:
    """Widths: of the UNet's first level (320 in SD1.5), of the VAE's (128), of the text (768) and its depth (12)."""

    width: int
    vae: int
    text: int
    text_layers: int

    @classmethod
    def of_width(cls, width: int) -> Size:
        """SD1.5 itself, or about as much smaller as ``width`` is.

        Tokens do not become fewer in small pictures, so that a small text encoder also gets fewer layers: its share of
        the work stays near that in SD1.5.
        """
        return cls(320, 128, 768, 12) if width == 320 else cls(width, 32, 192, 2)

    @property
    def channels(self) -> list[int]:
        return [self.width * factor for factor in (1, 2, 4, 4)]

    @property
    def text_config(self) -> dict:
        return {
            "hidden_size": self.text,
            "intermediate_size": 4 * self.text,
            "num_hidden_layers": self.text_layers,
            "num_attention_heads": 12,
            "max_position_embeddings": 77,
            "vocab_size": 49408,
            "hidden_act": "quick_gelu",
            "projection_dim": self.text,
            "eos_token_id": 49407,
        }


def diffusers_parts(size: Size, folder: Path | None = None) -> dict[str, torch.nn.Module]:
    """UNet, text encoder and VAE of diffusers and transformers; random, or with the weights in ``folder``."""
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    torch.manual_seed(0)
    parts = {
        "unet": UNet2DConditionModel(
            block_out_channels=size.channels, cross_attention_dim=size.text, attention_head_dim=8
        ),
        "text": CLIPTextModel(CLIPTextConfig(**size.text_config)),
        "vae": AutoencoderKL(
            block_out_channels=[size.vae * factor for factor in (1, 2, 4, 4)],
            down_block_types=["DownEncoderBlock2D"] * 4,
            up_block_types=["UpDecoderBlock2D"] * 4,
            layers_per_block=2,
            latent_channels=4,
        ),
    }
    for name, part in parts.items():
        if folder is not None:
            part.load_state_dict(load_file(folder / f"{name}.safetensors"))
        part.requires_grad_(False)
    return parts


def write_weights(size: Size, folder: Path) -> None:
    for name, part in diffusers_parts(size).items():
        save_file({key: value.contiguous() for key, value in part.state_dict().items()}, folder / f"{name}.safetensors")


def comfy_models(size: Size, folder: Path) -> tuple:
    """MODEL, CLIP and VAE of ComfyUI with the weights in ``folder``."""
    import comfy.sd
    import comfy.supported_models_base

    state = {name: load_file(folder / f"{name}.safetensors") for name in PARTS}
    encoder = {"double_z": True, "z_channels": 4, "resolution": 256, "in_channels": 3, "out_ch": 3, "dropout": 0.0}
    encoder |= {"ch": size.vae, "ch_mult": [1, 2, 4, 4], "num_res_blocks": 2, "attn_resolutions": []}
    vae = comfy.sd.VAE(sd=state["vae"], config={"params": {"ddconfig": encoder, "embed_dim": 4}})
    return _unet(size, state["unet"]), _text_encoder(size, state["text"]), vae


def _unet(size: Size, state: dict):
    import comfy.model_management
    import comfy.model_patcher
    import comfy.supported_models
    import comfy.utils

    config = comfy.supported_models.SD15(
        {
            "image_size": 32,
            "in_channels": 4,
            "out_channels": 4,
            "model_channels": size.width,
            "num_res_blocks": [2, 2, 2, 2],
            "channel_mult": [1, 2, 4, 4],
            "transformer_depth": [1, 1, 1, 1, 1, 1, 0, 0],
            "transformer_depth_middle": 1,
            "transformer_depth_output": [1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0],
            "context_dim": size.text,
            "num_heads": 8,
            "use_spatial_transformer": True,
            "use_linear_in_transformer": False,
            "adm_in_channels": None,
            "legacy": False,
            "use_temporal_attention": False,
            "use_temporal_resblock": False,
        }
    )
    device = comfy.model_management.get_torch_device()
    config.set_inference_dtype(torch.bfloat16 if device.type == "cuda" else torch.float32, None)
    model = config.get_model({}, device="cpu")
    names = comfy.utils.unet_to_diffusers(config.unet_config)
    model.diffusion_model.load_state_dict({names[name]: value for name, value in state.items()})
    return comfy.model_patcher.ModelPatcher(model, load_device=device, offload_device=torch.device("cpu"))


def _text_encoder(size: Size, state: dict):
    import comfy.sd
    import comfy.sd1_clip
    import comfy.supported_models_base

    class Chunk(comfy.sd1_clip.SDClipModel):
        def __init__(self, device="cpu", dtype=None, model_options={}):  # noqa: B006
            super().__init__(
                device=device, dtype=dtype, textmodel_json_config=size.text_config, model_options=model_options
            )

    class Encoder(comfy.sd1_clip.SD1ClipModel):
        def __init__(self, device="cpu", dtype=None, model_options={}):  # noqa: B006
            super().__init__(device, dtype, model_options, clip_model=Chunk)

    clip = comfy.sd.CLIP(comfy.supported_models_base.ClipTarget(comfy.sd1_clip.SD1Tokenizer, Encoder))
    state = {f"text_model.{name}": value for name, value in state.items()}
    clip.load_sd(state | {"text_projection.weight": torch.eye(size.text)})
    return clip
