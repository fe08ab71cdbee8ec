"""Procedural training pictures: a cache of rendered scenes, and "dead leaves" with the statistics of photographs.

Dead leaves are opaque shapes of many sizes, each with its own tone and grain. With a power law of radii they share
edges and spectrum with natural images (Lee, Mumford and Huang, *Occlusion models for natural images*, IJCV 2001), and
what networks learn from them holds for photographs (Baradad et al., *Learning to see by looking at noise*, NeurIPS
2021). The IQA model and the reference adapter learn from them what the few objects of the scenes cannot teach.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw
from tqdm import tqdm

from ...files import written_whole
from ..rendering import SIZE, SUPERSAMPLING, render
from ..world import TRAINING_SEEDS, sample_scene

CHUNK = 2000  # scenes in a file of the cache
_LARGE = SIZE * SUPERSAMPLING
_FREQUENCY = np.hypot(np.fft.fftfreq(_LARGE)[:, None], np.fft.rfftfreq(_LARGE)).clip(1 / _LARGE)


def dead_leaves(seed: int) -> np.ndarray:
    """The picture of a seed: uint8 ``[64, 64, 3]``, RGB."""
    rng = np.random.default_rng([seed, 3])
    labels = _leaves(rng)
    base = rng.uniform(0.1, 0.9, 3)  # one light and one material over the whole picture, as in most photographs
    tones = (base + rng.normal(0, rng.uniform(0.08, 0.3), (labels.max() + 1, 3))).clip(0, 1)
    tones += (tones.mean(1, keepdims=True) - tones) * rng.random()  # saturation
    grain = rng.uniform(0, 0.12, len(tones)) * (rng.random(len(tones)) < 0.7)
    canvas = tones[labels] + (_cloud(rng, rng.uniform(0.3, 1.2)) * grain[labels])[..., None]
    canvas *= 1 + 0.3 * _cloud(rng, 2.0)[..., None] * rng.random()  # uneven light
    small = canvas.reshape(SIZE, SUPERSAMPLING, SIZE, SUPERSAMPLING, 3).mean((1, 3))
    return (small.clip(0, 1) * 255 + 0.5).astype(np.uint8)


def dead_leaves_pictures(seeds: range) -> torch.Tensor:
    """``[len(seeds), 3, 64, 64]`` in 0…1."""
    return torch.from_numpy(np.stack([dead_leaves(seed) for seed in seeds])).movedim(-1, 1).float() / 255


def _leaves(rng: np.random.Generator) -> np.ndarray:
    """Number of the uppermost leaf at every place, int ``[256, 256]``."""
    count, smallest, largest = int(rng.integers(20, 1500)), rng.uniform(0.7, 4.0), rng.uniform(10, 40)
    image = Image.new("I", (_LARGE, _LARGE))
    pen = ImageDraw.Draw(image)
    u = rng.random(count)
    radii = smallest * largest / np.sqrt(u * smallest**2 + (1 - u) * largest**2) * SUPERSAMPLING  # density ~ r^-3
    angles = np.sort(rng.uniform(0, 2 * np.pi, (count, 5)), 1)
    centres = rng.uniform(0, _LARGE, (count, 2))
    for number, (radius, (x, y), angle) in enumerate(zip(radii, centres, angles, strict=True), 1):
        if number % 2:
            pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=number)
        else:
            pen.polygon([(x + 1.3 * radius * np.cos(a), y + 1.3 * radius * np.sin(a)) for a in angle], fill=number)
    return np.asarray(image)


def _cloud(rng: np.random.Generator, exponent: float) -> np.ndarray:
    """Noise with the amplitude spectrum f^-exponent, standard deviation 1, ``[256, 256]``."""
    spectrum = np.fft.rfft2(rng.normal(size=(_LARGE, _LARGE))) / _FREQUENCY**exponent
    noise = np.fft.irfft2(spectrum, s=(_LARGE, _LARGE))
    return (noise - noise.mean()) / noise.std()


def make_scene_cache(folder: Path, scenes: int) -> None:
    """Render the scenes of training seeds 0…``scenes`` − 1, in chunks so that training can begin with the first.

    Chunks that are there are kept.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for start in tqdm(range(0, scenes, CHUNK), desc="scenes", unit="chunk"):
        file = folder / f"{start:06d}.npy"
        if not file.exists():
            pictures = np.stack([render(sample_scene(seed)) for seed in TRAINING_SEEDS[start : start + CHUNK]])
            with written_whole(file) as temporary, temporary.open("wb") as output:
                np.save(output, pictures)


class SceneCache:
    """Pictures of training seeds, looked up by seed; grows while the cache is still being made."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.chunks: list[np.ndarray] = []

    def __len__(self) -> int:
        """How many seeds are there now, from 0 on.

        Raises:
            FileNotFoundError: not one chunk is there.
        """
        while (file := self.folder / f"{len(self.chunks) * CHUNK:06d}.npy").exists():
            self.chunks.append(np.load(file, mmap_mode="r"))
        if not self.chunks:
            raise FileNotFoundError(f"No scenes in {self.folder}; run the stage `scenes` first.")
        return len(self.chunks) * CHUNK

    def pictures(self, seeds: np.ndarray) -> torch.Tensor:
        """``[len(seeds), 3, 64, 64]`` in 0…1."""
        pixels = np.empty((len(seeds), SIZE, SIZE, 3), np.uint8)
        for i, seed in enumerate(seeds):
            pixels[i] = self.chunks[seed // CHUNK][seed % CHUNK]
        return torch.from_numpy(pixels).movedim(-1, 1).float() / 255
