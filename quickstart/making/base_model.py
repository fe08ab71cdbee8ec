"""The tiny text-to-image model as it is trained: UNet, text encoder, companion, and their loss.

The loss is the v-prediction loss of Salimans and Ho, *Progressive Distillation for Fast Sampling of Diffusion Models*
(ICLR 2022), taken through ComfyUI's own ``BaseModel.apply_model``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields

import torch
from comfy.ldm.modules.attention import attention_basic, attention_pytorch

from ..model import make_unet
from ..precision import CPU, autocast
from ..text_encoder import PromptEncoder, encode
from .companion import Companion

# Mean and standard deviation of ln sigma in training. Objects are many positions wide, so their outlines show through a
# noise several times as strong as the picture and are decided there (sigma from 2 to 16); grain and blocks below 0.5.
NOISE_LEVELS = (0.4, 1.8)
RESIDUAL_ENDS = ("out_layers.3", "proj_out", "unet.out.2", ".out", ".fc2")  # last layers of UNet and text encoder


@dataclass(frozen=True)
class Batch:
    """Training pictures, all tensors on one device.

    Attributes:
        latents: ``[N, 12, 32, 32]`` in ComfyUI's latent space before scaling, -1…1.
        noise: as many, of variance 1.
        sigma: ``[N]`` noise levels.
        tokens: ``[N, 24]`` token numbers.
        kinds, severities, directions, accompanied: ``[N]``, as :meth:`.companion.Companion.options` takes them.
    """

    latents: torch.Tensor
    noise: torch.Tensor
    sigma: torch.Tensor
    tokens: torch.Tensor
    kinds: torch.Tensor
    severities: torch.Tensor
    directions: torch.Tensor
    accompanied: torch.Tensor

    def __iter__(self) -> Iterator[torch.Tensor]:
        return (getattr(self, field.name) for field in fields(self))

    def part(self, rows: slice) -> Batch:
        """Some of the pictures."""
        return Batch(*(column[rows] for column in self))


class TinyModel:
    """UNet and text encoder in ComfyUI's own classes; ``weights``' state dict is the layout of the file.

    The companion is no part of it.
    """

    def __init__(self, device: torch.device = CPU):
        self.device = device
        self.base = make_unet()
        encoder = PromptEncoder(dtype=torch.float32).chunk_encoder
        self.weights = torch.nn.ModuleDict({"unet": self.base.diffusion_model, "text_encoder": encoder.transformer})
        initialise(self.weights)
        self.weights.requires_grad_(True)
        self.companion = Companion(self.base.diffusion_model)
        for part in (self.base, self.weights, self.companion):
            part.to(device)
        self.attention = attention_basic if device.type == "cpu" else attention_pytorch

    def noise_levels(self, count: int, generator: torch.Generator) -> torch.Tensor:
        """``[count]``, in random order; one stratum of the distribution each: less variance from batch to batch."""
        sampling, place = self.base.model_sampling, {"generator": generator, "device": self.device}
        quantile = (torch.randperm(count, **place) + torch.rand(count, **place)) / count
        log_sigma = NOISE_LEVELS[0] + NOISE_LEVELS[1] * torch.special.ndtri(quantile)
        return log_sigma.exp().clamp(sampling.sigmas[0], sampling.sigmas[-1])

    def loss(self, batch: Batch) -> torch.Tensor:
        """v-prediction loss, mean over everything."""
        x0 = self.base.process_latent_in(batch.latents)
        s = batch.sigma.view(-1, 1, 1, 1)
        quality = (batch.kinds, batch.severities, batch.directions, batch.accompanied)
        with autocast(self.device):
            context, pooled = encode(self.weights["text_encoder"], batch.tokens)
            denoised = self.base.apply_model(
                x0 + s * batch.noise,
                batch.sigma,
                c_crossattn=context,
                y=pooled,
                transformer_options={
                    "optimized_attention_override": self._attention,
                    **self.companion.options(*quality),
                },
            )
        return ((denoised - x0).square() * (s**2 + 1) / s**2).mean()  # error of v from the error of x0

    def _attention(self, _chosen, *args, **kwargs) -> torch.Tensor:
        """On a CPU the plain products are faster than the fused kernel, whose backward pass is slow for few tokens."""
        return self.attention(*args, **kwargs)


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
