"""Noise that a search draws, remembered by the seeds it comes from, so that it can be drawn again bit by bit."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import comfy.sample
import torch
from torch import Tensor

SEEDS = 2**64 - 1  # the largest is left out: stochastic samplers of newer ComfyUI add one to a seed on the CPU


@dataclass(frozen=True)
class Recipe:
    """How one noise is made.

    Attributes:
        seed: of the noise that it begins with, and of a stochastic sampler.
        turns: ``(seed, radius)`` of the noises that are mixed in, one after the other; see :func:`turned`.
        cutoff: part of the frequencies that the turns change, 0...1: 1 all of them, 0.25 the lowest quarter.
    """

    seed: int
    turns: tuple[tuple[int, float], ...] = ()
    cutoff: float = 1.0

    def turned(self, seed: int, radius: float, cutoff: float) -> Recipe:
        """A neighbour of this noise."""
        return replace(self, turns=(*self.turns, (seed, radius)), cutoff=cutoff)

    def draw(self, latent: dict) -> Tensor:
        """The noise of a LATENT, as ComfyUI draws it; leaves PyTorch's random state as ComfyUI does for this seed."""
        later = [
            comfy.sample.prepare_noise(latent["samples"], seed, latent.get("batch_index")) for seed, _ in self.turns
        ]
        noise = comfy.sample.prepare_noise(latent["samples"], self.seed, latent.get("batch_index"))
        for (_, radius), other in zip(self.turns, later, strict=True):
            noise = turned(noise, other, radius, self.cutoff)
        return noise

    def __str__(self) -> str:
        mixed = "".join(f" + {radius:g} x {seed}" for seed, radius in self.turns)
        return f"{self.seed}{mixed}" + (f" (lowest {self.cutoff:g})" if self.turns and self.cutoff < 1 else "")


def recipes(seed: int, count: int) -> list[Recipe]:
    """Of single seeds, one after the other from ``seed`` on."""
    return [Recipe((seed + number) % SEEDS) for number in range(count)]


def turned(noise: Tensor, other: Tensor, radius: float, cutoff: float = 1.0) -> Tensor:
    """``sqrt(1 - radius²) noise + radius other``, Gaussian white noise again; of low frequencies alone if asked.

    Args:
        noise, other: ``[N, C, ...]``, Gaussian and white.
        radius: 0...1; 0 gives ``noise``, 1 gives ``other``.
        cutoff: part of the frequencies, 0...1, in which the two are mixed; the others stay those of ``noise``.
    """
    change = (math.sqrt(1 - radius**2) - 1) * noise + radius * other
    return noise + (change if cutoff == 1 else low_frequencies(change, cutoff))


def low_frequencies(noise: Tensor, cutoff: float) -> Tensor:
    """What lies below a share ``cutoff`` of the highest frequency, in all dimensions of ``[N, C, ...]`` but two."""
    sizes = noise.shape[2:]
    *whole, last = sizes
    axes = [torch.fft.fftfreq(size) for size in whole] + [torch.fft.rfftfreq(last)]
    distance = sum(axis.square() for axis in torch.meshgrid(*axes, indexing="ij")).sqrt()
    dimensions = tuple(range(2, noise.ndim))
    spectrum = torch.fft.rfftn(noise.float(), dim=dimensions) * (distance <= cutoff / 2)
    return torch.fft.irfftn(spectrum, s=tuple(sizes), dim=dimensions).to(noise.dtype)


@dataclass(frozen=True)
class FoundNoise:
    """NOISE of ComfyUI: that of the pictures which a search kept.

    Attributes:
        kept: for every LATENT that was searched for by itself, the recipes that were kept, best first.
        places: of each of these LATENTs the ``batch_index`` with which its noise is drawn; None for none.
        rows: latents in each of them.
    """

    kept: tuple[tuple[Recipe, ...], ...]
    places: tuple[list[int] | None, ...]
    rows: int

    @property
    def seed(self) -> int:
        """Of a stochastic sampler, for the best picture of the first latent."""
        return self.kept[0][0].seed

    def generate_noise(self, latent: dict) -> Tensor:
        """For the LATENT that was searched: noise of the best. For as many latents as were kept: noise of all.

        Raises:
            ValueError: it has another number of latents.
        """
        count = len(latent["samples"])
        parts = list(zip(self.kept, self.places, strict=True))
        best = [(recipes[0], place) for recipes, place in parts]
        every = [(recipe, place) for recipes, place in parts for recipe in recipes]
        chosen = next((each for each in (best, every) if len(each) * self.rows == count), None)
        if chosen is None:
            raise ValueError(
                f"The noise is of {len(best) * self.rows} latents, or of the {len(every) * self.rows} that were kept, "
                f"but {count} are to be sampled. Connect the LATENT that Search Best Pictures got."
            )
        parts = latent["samples"].split(self.rows)
        return torch.cat([
            recipe.draw({"samples": samples} | ({} if place is None else {"batch_index": place}))
            for samples, (recipe, place) in zip(parts, chosen, strict=True)
        ])  # fmt: skip
