"""Latents decoded so that gradients by pixels can be carried back to them, in as little memory as is asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product

import torch
import torch.nn.functional as F
from comfy.sd import VAE
from torch import Tensor

WHOLE, HALF, QUARTER, TILES = "whole", "half size", "quarter size", "tiles"
MODES = (WHOLE, HALF, QUARTER, TILES)
FACTORS = {WHOLE: 1, HALF: 2, QUARTER: 4}
TILE, OVERLAP = 64, 16  # positions of the latent

LatentOut = Callable[[Tensor], Tensor]  # of the model: its own latents -> those of the VAE
ByPixels = Callable[[Tensor], Sequence[Tensor]]  # pixels [1, 3, H, W] in 0…1 -> gradients of the same shape


@dataclass(frozen=True, eq=False)
class Decoding:
    """How latents of single pictures become pixels.

    Attributes:
        vae: of single pictures, on its device.
        mode: one of :data:`MODES`. Reduced sizes scale the latent down first; tiles decode one part after the other,
            twice, and hold the graph of one only.
    """

    vae: VAE
    mode: str = WHOLE

    def __post_init__(self):
        if self.mode not in MODES:
            raise ValueError(f"Unknown decode {self.mode!r}; expected one of {', '.join(MODES)}.")

    @torch.no_grad()
    def pixels(self, latent: Tensor, latent_out: LatentOut) -> Tensor:
        """``[1, C, h, w]`` in the model's unit -> ``[1, 3, H, W]`` in 0…1."""
        if self.mode == TILES:
            return self._tiled(latent, latent_out)
        return self._decoded(latent_out(self._scaled(latent)))

    def gradients(self, latent: Tensor, latent_out: LatentOut, by_pixels: ByPixels) -> list[Tensor]:
        """Gradients by the latent ``[1, C, h, w]``, of what ``by_pixels`` gives gradients of by the pixels."""
        if self.mode == TILES:
            return self._tiled_gradients(latent, latent_out, by_pixels(self._tiled(latent.detach(), latent_out)))
        latent = latent.detach().clone().requires_grad_(True)
        pixels = self._decoded(latent_out(self._scaled(latent)))
        given = by_pixels(pixels.detach())
        return [torch.autograd.grad(pixels, latent, each, retain_graph=True)[0] for each in given]

    def _scaled(self, latent: Tensor) -> Tensor:
        factor = FACTORS[self.mode]
        if factor == 1:
            return latent
        size = [max(1, round(side / factor)) for side in latent.shape[2:]]
        return F.interpolate(latent, size, mode="bilinear", antialias=True)

    def _decoded(self, latent: Tensor) -> Tensor:
        coded = latent.to(self.vae.device, self.vae.vae_dtype)
        pixels = self.vae.process_output(self.vae.first_stage_model.decode(coded).float())
        if pixels.ndim != 4:
            raise ValueError("IQA Gradient Guidance works on single pictures; this VAE decodes videos.")
        return pixels.clamp(0, 1)

    @torch.no_grad()
    def _tiled(self, latent: Tensor, latent_out: LatentOut) -> Tensor:
        picture = total = None
        for place in tiles(*latent.shape[2:]):
            part = self._decoded(latent_out(latent[place]))
            ratio = part.shape[-1] // latent[place].shape[-1]
            if picture is None:
                height, width = (side * ratio for side in latent.shape[2:])
                picture, total = part.new_zeros(1, part.shape[1], height, width), part.new_zeros(1, 1, height, width)
            there, weight = scaled(place, ratio), feather(*part.shape[2:], part.device)
            picture[there] += part * weight
            total[there] += weight
        return picture / total

    def _tiled_gradients(self, latent: Tensor, latent_out: LatentOut, given: Sequence[Tensor]) -> list[Tensor]:
        ratio = given[0].shape[-1] // latent.shape[-1]
        total = torch.zeros_like(given[0][:, :1])
        places = tiles(*latent.shape[2:])
        weights = [feather(*total[scaled(place, ratio)].shape[2:], total.device) for place in places]
        for place, weight in zip(places, weights, strict=True):
            total[scaled(place, ratio)] += weight
        gradients = [torch.zeros_like(latent) for _ in given]
        for place, weight in zip(places, weights, strict=True):
            there, part = scaled(place, ratio), latent[place].detach().clone().requires_grad_(True)
            pixels = self._decoded(latent_out(part))
            for gradient, each in zip(gradients, given, strict=True):
                shared = each[there] * weight / total[there]
                gradient[place] += torch.autograd.grad(pixels, part, shared, retain_graph=True)[0]
        return gradients


Place = tuple[slice, slice, slice, slice]


def tiles(height: int, width: int) -> list[Place]:
    """Parts of a latent, of :data:`TILE` positions or less, that overlap by :data:`OVERLAP` or more."""

    def starts(length: int) -> list[int]:
        return [*range(0, max(1, length - TILE), TILE - OVERLAP), max(0, length - TILE)]

    corners = product(sorted(set(starts(height))), sorted(set(starts(width))))
    return [(slice(None), slice(None), slice(top, top + TILE), slice(left, left + TILE)) for top, left in corners]


def scaled(place: Place, ratio: int) -> Place:
    """The same part of the picture, which is ``ratio`` times as large as the latent."""
    return (*place[:2], *(slice(each.start * ratio, each.stop * ratio) for each in place[2:]))


def feather(height: int, width: int, device: torch.device) -> Tensor:
    """Weights of a tile, ``[1, 1, height, width]``, highest in its middle."""
    sides = []
    for length in (height, width):
        place = torch.arange(length, device=device, dtype=torch.float32)
        sides.append(torch.minimum(place, length - 1 - place) + 1)
    return (sides[0][:, None] * sides[1])[None, None]
