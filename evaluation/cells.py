"""The models under evaluation, the held-out prompts, and what can be read from their pictures.

Every cell of pictures is kept in the work folder and taken from there when the same weights are evaluated again.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from ..adapter.tokens import QualityTokens
from ..files import read_tensors, write_torch
from ..quickstart.iqa import load_iqa
from ..quickstart.model import BASE_WEIGHTS, load_quickstart
from ..quickstart.reader import ATTRIBUTES, AttributeReader, labels, load_reader
from ..quickstart.rendering import render_pictures
from ..quickstart.sampling import CFG, SAMPLER, SCHEDULER, STEPS, BatchSampler
from ..quickstart.world import HELD_OUT_SEEDS, HELD_OUT_THINGS, Scene, prompt, sample_scene
from .measures import untrained_measures

SEEDS_PER_PROMPT = 8


@dataclass
class Evaluation:
    """The quickstart's models under evaluation, and the held-out prompts on which they are evaluated.

    Args:
        weights: folder of the quickstart's weights.
        pictures: per cell, a multiple of ``SEEDS_PER_PROMPT``.
        work: keeps the cells.
    """

    weights: Path
    pictures: int
    work: Path

    def __post_init__(self):
        count = self.pictures // SEEDS_PER_PROMPT
        first = HELD_OUT_SEEDS.start + 50_000
        distinct = [sample_scene(first + i, HELD_OUT_THINGS, two_objects=0) for i in range(count)]
        self.scenes = [scene for scene in distinct for _ in range(SEEDS_PER_PROMPT)]
        self.clean, self.other_clean = (self._clean_scenes(HELD_OUT_SEEDS.start + i * 10**6) for i in (1, 2))
        self.sample = BatchSampler(*load_quickstart(self.weights))
        self.iqa, _ = load_iqa(self.weights)
        self.reader, _ = load_reader(self.weights)

    def cell(self, name: str, tokens: QualityTokens | None = None, strength: float = 1.0) -> torch.Tensor:
        """Pictures of every prompt and seed under one quality, ``[N, 3, 64, 64]`` in 0…1.

        Args:
            name: of its file, which is kept apart by weights, sampling settings, tokens and strength as well.
            tokens: one row per picture; None for the base model.
        """
        key = hashlib.sha256((self.weights / BASE_WEIGHTS).read_bytes())
        key.update(f"{STEPS} {CFG} {SAMPLER} {SCHEDULER}".encode())
        if tokens is not None:
            key.update(tokens.keys_values.numpy().tobytes() + str(strength).encode())
        file = self.work / f"{name}_{self.pictures}_{key.hexdigest()[:12]}.pt"
        if not file.exists():
            prompts = [prompt(scene) for scene in self.scenes]
            pictures = self.sample(prompts, range(len(prompts)), tokens, strength, name)
            write_torch(file, pictures.half())
        return read_tensors(file).content.float()

    def _clean_scenes(self, first: int) -> torch.Tensor:
        """A clean scene of every prompt and seed, ``[N, 3, 64, 64]``."""
        return render_pictures([replace(scene, seed=first + i) for i, scene in enumerate(self.scenes)])

    def measures(self, pictures: torch.Tensor) -> dict[str, float]:
        """How near the pictures come to clean scenes, in measures that nothing was trained on; 0…1, 1 is best."""
        return untrained_measures(pictures, self.clean, SEEDS_PER_PROMPT)

    def read_as_asked(self, pictures: torch.Tensor) -> dict[str, float]:
        """Share of pictures in which the reader finds the prompt's attribute."""
        return agreement(read(self.reader, pictures), truth(self.scenes))


def truth(scenes: list[Scene]) -> torch.Tensor:
    """Class indices ``[N, 5]`` of the scenes' attributes."""
    return torch.tensor([labels(scene) for scene in scenes])


@torch.no_grad()
def read(reader: AttributeReader, pictures: torch.Tensor) -> torch.Tensor:
    """Class indices ``[N, 5]`` of the attributes that the reader finds."""
    logits = reader(pictures)
    return torch.stack([logits[name].argmax(1) for name in ATTRIBUTES], 1)


def agreement(read: torch.Tensor, truth: torch.Tensor) -> dict[str, float]:
    """Share of pictures in which each attribute is the same; both ``[N, 5]``."""
    return dict(zip(ATTRIBUTES, (read == truth).float().mean(0).tolist(), strict=True))


def mean(shares: dict[str, float]) -> float:
    """Over all attributes."""
    return float(np.mean(list(shares.values())))


def listed(shares: dict[str, float]) -> str:
    """One line: each attribute and its share."""
    return ", ".join(f"{name.replace('_', ' ')} {share:.2f}" for name, share in shares.items())
