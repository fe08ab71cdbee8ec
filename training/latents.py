"""The distribution of a picture's latent, from which ``latents: sample`` draws at every step, as the paper does."""

from __future__ import annotations

from collections.abc import Callable

import comfy.sd
import torch
from comfy.ldm.models.autoencoder import DiagonalGaussianRegularizer
from comfy.ldm.modules.distributions.distributions import DiagonalGaussianDistribution
from torch import Tensor, nn

from .cache import Tensors, encode_pictures


def encode_deviations(vae: comfy.sd.VAE, pixels: Tensor) -> Tensor:
    """``[n, H, W, 3]`` -> standard deviations ``[n, C, h, w]`` of the latents whose means
    :func:`.cache.encode_pictures` gives.

    It goes the same way through ComfyUI's VAE, for the way chooses tiles where memory is short.
    """

    def deviation(_module: nn.Module, moments: tuple[Tensor], _mean: tuple) -> tuple[Tensor, None]:
        return DiagonalGaussianDistribution(*moments).std, None

    with vae.first_stage_model.regularization.register_forward_hook(deviation):
        return encode_pictures(vae, pixels)


def check_latents(vae: comfy.sd.VAE, latents: str) -> None:
    """Refuse to sample where there is nothing to sample from.

    Raises:
        ValueError: the VAE gives one latent per picture.
    """
    autoencoder = vae.first_stage_model
    distribution = getattr(autoencoder, "regularization", None)
    if latents == "sample" and not isinstance(distribution, DiagonalGaussianRegularizer):
        raise ValueError(
            f"latents: sample needs a VAE that gives a distribution; this one ({type(autoencoder).__name__}) gives one "
            "latent per picture. Set latents to mode."
        )


def scaled(encoded: Tensors, scale: Callable[[Tensor], Tensor]) -> Tensors:
    """``latent`` and, where there is one, ``deviation`` of a picture as the UNet knows them.

    Args:
        scale: the model's ``process_latent_in``, which multiplies and adds.
    """
    latent = encoded["latent"].float()
    if "deviation" not in encoded:
        return {"latent": scale(latent)}
    return {"latent": scale(latent), "deviation": scale(encoded["deviation"].float()) - scale(torch.zeros_like(latent))}
