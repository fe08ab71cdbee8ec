"""What the base model learns from: about a third clean scenes, the others with one distortion of a random severity."""

from __future__ import annotations

import numpy as np
import torch

from ...pictures.distortions import KINDS
from ..model import SpaceToDepth
from ..text_encoder import tokenize
from .base_model import Batch, TinyModel
from .distorting import distort_scenes
from .procedural import PictureCache

CLEAN_SHARE = 0.35


class MixedQuality:
    """Batches that depend on the seed and the number of the step alone, made on the device of the scenes.

    Args:
        scenes: to draw from.
        batch: pictures of a step.
        quality_told: share of the pictures that the companion's tokens accompany.
        text_dropout: share of the pictures without a caption.
    """

    def __init__(self, scenes: PictureCache, batch: int, quality_told: float, text_dropout: float, seed: int):
        self.scenes, self.size, self.seed = scenes, batch, seed
        self.quality_told, self.text_dropout = quality_told, text_dropout
        self.empty = tokenize([""]).to(scenes.device)

    def batch(self, step: int, model: TinyModel) -> Batch:
        """The batch of a step; its noise levels are those of the model's training."""
        rng = np.random.default_rng([self.seed, step])
        device = self.scenes.device
        generator = torch.Generator(device).manual_seed(int(rng.integers(2**62)))

        def draw(largest: float = 1) -> torch.Tensor:
            return torch.rand(self.size, generator=generator, device=device) * largest

        kinds = draw_kinds(rng, self.size, CLEAN_SHARE)
        numbers, variants = ((draw() * count).long() for count in (len(self.scenes), self.scenes.sentences.shape[1]))
        severities, directions = draw(), draw(360)
        pictures = distort_by_kind(self.scenes.floats(numbers), kinds, severities, directions, generator)
        silent = draw() < self.text_dropout
        tokens = torch.where(silent[:, None], self.empty, self.scenes.sentences[numbers, variants].long())
        latents = SpaceToDepth().encode(pictures * 2 - 1)
        return Batch(
            latents=latents,
            noise=torch.randn(latents.shape, generator=generator, device=device),
            sigma=model.noise_levels(self.size, generator),
            tokens=tokens,
            kinds=torch.from_numpy(kinds).to(device),
            severities=severities,
            directions=directions,
            accompanied=(draw() < self.quality_told).float(),
        )


def draw_kinds(rng: np.random.Generator, count: int, clean_share: float) -> np.ndarray:
    """Indices into ``KINDS``, ascending."""
    kinds = rng.integers(1, len(KINDS), count)
    kinds[rng.random(count) < clean_share] = 0
    return np.sort(kinds)


def distort_by_kind(
    pictures: torch.Tensor,
    kinds: np.ndarray,
    severities: torch.Tensor,
    directions: torch.Tensor,
    generator: torch.Generator,
) -> torch.Tensor:
    """Each picture with its own distortion; ``kinds`` ``[N]`` ascend."""
    parts, start = [], 0
    for kind, count in enumerate(np.bincount(kinds, minlength=len(KINDS))):
        rows = slice(start, start + int(count))
        if count:
            columns = (column[rows] for column in (pictures, severities, directions))
            parts.append(distort_scenes(KINDS[kind], *columns, generator))
        start = rows.stop
    return torch.cat(parts)
