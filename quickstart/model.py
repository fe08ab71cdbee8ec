"""The tiny text-to-image model as ComfyUI objects: MODEL, CLIP and VAE.

Everything in sampling is ComfyUI's own: its UNet with cross-attention, its v-prediction, its ModelPatcher. 64×64 RGB
pictures are 12×32×32 latents (space to depth), which loses nothing. Beside the latent the UNet sees where each position
lies: large pixels and JPEG blocks sit on a grid that begins at the picture's corner; a convolution cannot tell where.
"""

from __future__ import annotations

import math
from functools import lru_cache
from pathlib import Path

import comfy.latent_formats
import comfy.model_base
import comfy.model_management
import comfy.model_patcher
import comfy.pixel_space_convert
import comfy.sd
import comfy.supported_models_base
import comfy.utils
import torch
import torch.nn.functional as F
from comfy.ldm.modules.diffusionmodules.openaimodel import UNetModel

from ..files import fill
from .text_encoder import WIDTH, make_clip
from .weights_file import read_weights

WEIGHTS = Path(__file__).parent / "weights"
BASE_WEIGHTS = "base.safetensors"
LATENT_CHANNELS, BLOCK = 12, 2  # 3 colours × 2×2 pixels
PERIODS = (2, 3, 4, 5, 6, 8, 11, 16, 32, 64)  # in positions of the latent
POSITION_CHANNELS = 4 * len(PERIODS)  # sine and cosine, rows and columns


class SpaceToDepthLatents(comfy.latent_formats.LatentFormat):
    """Pixels in -1…1, scaled to about unit variance; previews are exact."""

    scale_factor = 2.0
    latent_channels = LATENT_CHANNELS
    spacial_downscale_ratio = BLOCK

    def __init__(self):
        self.latent_rgb_factors = (torch.eye(3) / self.scale_factor).tolist()
        self.latent_rgb_factors_reshape = lambda latent: F.pixel_shuffle(latent, BLOCK)


@lru_cache(maxsize=8)
def positions(height: int, width: int, device: torch.device) -> torch.Tensor:
    """Sines and cosines of the distance from the upper left corner: ``[40, height, width]``."""
    places = (torch.arange(length, device=device) for length in (height, width))
    angles = (torch.stack([2 * math.pi / period * place for period in PERIODS]) for place in places)
    rows, columns = (torch.cat([angle.sin(), angle.cos()]) for angle in angles)
    return torch.cat([rows[:, :, None].expand(-1, -1, width), columns[:, None].expand(-1, height, -1)])


class PositionedUNet(UNetModel):
    """ComfyUI's UNet, whose first convolution sees :func:`positions` after the channels of the latent."""

    def __init__(self, *, in_channels: int, **config):
        super().__init__(in_channels=in_channels + POSITION_CHANNELS, **config)

    def _forward(self, x: torch.Tensor, *args, **kwargs) -> torch.Tensor:
        """What ``forward`` calls after the wrappers of others, which see the latent alone."""
        maps = positions(*x.shape[-2:], x.device).to(x.dtype).expand(len(x), -1, -1, -1)
        return super()._forward(torch.cat([x, maps], 1), *args, **kwargs)


class QuickstartBase(comfy.model_base.BaseModel):
    """ComfyUI's model, with the prompt's pooled embedding beside the time step, as in SDXL."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, unet_model=PositionedUNet, **kwargs)

    def encode_adm(self, **kwargs) -> torch.Tensor:
        return kwargs["pooled_output"]


class QuickstartConfig(comfy.supported_models_base.BASE):
    """UNet of the quickstart: cross-attention from the second level on and in the middle."""

    unet_config = {
        "image_size": 32,
        "in_channels": LATENT_CHANNELS,
        "out_channels": LATENT_CHANNELS,
        "model_channels": 64,
        "num_res_blocks": [2, 2, 2],
        "channel_mult": [1, 1, 2],
        "transformer_depth": [0, 0, 1, 1, 1, 1],
        "transformer_depth_middle": 1,
        "transformer_depth_output": [0, 0, 0, 1, 1, 1, 1, 1, 1],
        "context_dim": WIDTH,
        "use_spatial_transformer": True,
        "use_linear_in_transformer": True,
        "use_temporal_attention": False,
        "num_classes": "sequential",
        "adm_in_channels": WIDTH,
        "legacy": False,
        "dtype": torch.float32,
    }
    unet_extra_config = {"num_heads": -1, "num_head_channels": 32}
    # sigma from 0.03 to 64: with the usual end of 14.6 the mean colour of a small picture would show through the noise.
    sampling_settings = {"beta_schedule": "linear", "linear_start": 0.00085, "linear_end": 0.02}
    latent_format = SpaceToDepthLatents
    supported_inference_dtypes = [torch.float32]
    memory_usage_factor = 0.5
    training_resolution = 64  # pixels, for adapters that are trained on it

    def __init__(self):
        super().__init__(self.unet_config)

    def model_type(self, state_dict, prefix=""):
        return comfy.model_base.ModelType.V_PREDICTION

    def get_model(self, state_dict, prefix="", device=None) -> QuickstartBase:
        return QuickstartBase(self, self.model_type(state_dict, prefix), device)


class SpaceToDepth(comfy.pixel_space_convert.PixelspaceConversionVAE):
    """Every 2×2 block of pixels becomes one position with twelve channels, and back."""

    def encode(self, pixels: torch.Tensor, *_args, **_kwargs) -> torch.Tensor:
        return F.pixel_unshuffle(pixels, BLOCK)

    def decode(self, samples: torch.Tensor, *_args, **_kwargs) -> torch.Tensor:
        return F.pixel_shuffle(samples, BLOCK)


class QuickstartVAE(comfy.sd.VAE):
    """ComfyUI's VAE, made as its pixel-space VAE, with the reshaping in its place."""

    def __init__(self):
        super().__init__(sd={"pixel_space_vae": torch.tensor(1.0)}, dtype=torch.float32)
        self.first_stage_model = SpaceToDepth().eval()
        self.patcher = comfy.model_patcher.ModelPatcher(
            self.first_stage_model, load_device=self.device, offload_device=self.patcher.offload_device
        )
        self.downscale_ratio = self.upscale_ratio = BLOCK
        self.latent_channels = LATENT_CHANNELS
        self.memory_used_encode = lambda shape, dtype: 24 * shape[2] * shape[3] * dtype.itemsize
        self.memory_used_decode = lambda shape, dtype: 96 * shape[2] * shape[3] * dtype.itemsize


def make_unet() -> comfy.model_base.BaseModel:
    """The diffusion model with uninitialised weights, on the CPU."""
    return QuickstartConfig().get_model({}, device=torch.device("cpu"))


def load_quickstart(
    folder: Path = WEIGHTS, embedding_directory: list[str] | None = None
) -> tuple[comfy.model_patcher.ModelPatcher, comfy.sd.CLIP, comfy.sd.VAE]:
    """The tiny text-to-image model.

    Args:
        folder: holds ``base.safetensors``.
        embedding_directory: where textual-inversion embeddings lie (ComfyUI's ``embeddings`` folders).

    Returns:
        Model, text encoder and VAE, as ComfyUI's checkpoint loader gives them.

    Raises:
        FileNotFoundError: there are no weights in ``folder``.
        ValueError: the file is damaged, or holds something else.
    """
    file = folder / BASE_WEIGHTS
    if not file.is_file():
        raise FileNotFoundError(f"{file} is missing; `python iqa.py build` trains and writes it.")
    weights, _ = read_weights(file)
    text = comfy.utils.state_dict_prefix_replace(weights, {"text_encoder.": ""}, filter_keys=True)
    unet = comfy.utils.state_dict_prefix_replace(weights, {"unet.": ""}, filter_keys=True)

    base = make_unet()
    fill(base.diffusion_model, unet, file)
    model = comfy.model_patcher.ModelPatcher(
        base,
        load_device=comfy.model_management.get_torch_device(),
        offload_device=comfy.model_management.unet_offload_device(),
    )
    clip = make_clip(embedding_directory)
    fill(clip.cond_stage_model.chunk_encoder.transformer, text, file)
    return model, clip, QuickstartVAE()
