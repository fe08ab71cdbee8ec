"""The tiny text-to-image model as it is trained: UNet, text encoder, companion, and their loss.

The loss is the v-prediction loss of Salimans and Ho, *Progressive Distillation for Fast Sampling of Diffusion Models*
(ICLR 2022), taken through ComfyUI's own ``BaseModel.apply_model``.
"""

from __future__ import annotations

import torch
from comfy.ldm.modules.attention import attention_basic

from ..model import make_unet
from ..precision import autocast
from ..text_encoder import PromptEncoder
from .companion import Companion

# Mean and standard deviation of ln σ in training. Objects are many positions wide, so their outlines show through a
# noise several times as strong as the picture and are decided there (σ from 2 to 16); grain and blocks below 0.5.
NOISE_LEVELS = (0.4, 1.8)
RESIDUAL_ENDS = ("out_layers.3", "proj_out", "unet.out.2", ".out", ".fc2")  # last layers of UNet and text encoder


class TinyModel:
    """UNet and text encoder in ComfyUI's own classes; ``weights``' state dict is the layout of the file.

    The companion is no part of it.
    """

    def __init__(self):
        self.base = make_unet()
        self.encoder = PromptEncoder(dtype=torch.float32).chunk_encoder
        self.weights = torch.nn.ModuleDict(
            {"unet": self.base.diffusion_model, "text_encoder": self.encoder.transformer}
        )
        initialise(self.weights)
        self.weights.requires_grad_(True)
        self.companion = Companion(self.base.diffusion_model)

    def loss(
        self, latents: torch.Tensor, tokens: list[list[int]], quality: list[torch.Tensor], generator: torch.Generator
    ) -> torch.Tensor:
        """v-prediction loss, mean over everything.

        Args:
            latents: ``[N, 12, 32, 32]`` in ComfyUI's latent space before scaling, −1…1.
            tokens: N lists of 24 token numbers.
            quality: what :meth:`Companion.options` takes, ``[N]`` each.
        """
        sampling = self.base.model_sampling
        x0 = self.base.process_latent_in(latents)
        # one stratum of the noise levels per picture: less variance from batch to batch
        quantile = (torch.arange(len(x0)) + torch.rand(len(x0), generator=generator)) / len(x0)
        log_sigma = NOISE_LEVELS[0] + NOISE_LEVELS[1] * torch.special.ndtri(quantile)
        sigma = log_sigma.exp().clamp(sampling.sigma_min, sampling.sigma_max)
        s = sigma.view(-1, 1, 1, 1)
        noise = torch.randn(x0.shape, generator=generator)
        with autocast():
            context, pooled = self.encoder(tokens)[:2]
            denoised = self.base.apply_model(
                x0 + s * noise,
                sigma,
                c_crossattn=context,
                y=pooled,
                transformer_options={
                    "optimized_attention_override": _basic_attention,
                    **self.companion.options(*quality),
                },
            )
        return ((denoised - x0).square() * (s**2 + 1) / s**2).mean()  # error of v from the error of x0


def _basic_attention(_chosen, *args, **kwargs):
    """Faster on a CPU than the fused kernel, whose backward pass is slow for so few tokens."""
    return attention_basic(*args, **kwargs)


def initialise(module: torch.nn.Module) -> None:
    """ComfyUI's layers leave their weights uninitialised; residual branches start at zero, those of the text too."""
    layers = (torch.nn.Linear, torch.nn.Conv2d, torch.nn.GroupNorm, torch.nn.LayerNorm)
    for name, layer in module.named_modules():
        for kind in layers:
            if isinstance(layer, kind):
                kind.reset_parameters(layer)
        if isinstance(layer, torch.nn.Embedding):
            torch.nn.init.normal_(layer.weight, std=0.5 if name.endswith("tokens") else 0.1)
        if isinstance(layer, layers) and name.endswith(RESIDUAL_ENDS):
            torch.nn.init.zeros_(layer.weight)
            torch.nn.init.zeros_(layer.bias)
