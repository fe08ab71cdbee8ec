"""Procedural training pictures: caches of rendered scenes, and of "dead leaves" with the statistics of photographs.

Dead leaves are opaque shapes of many sizes, each with its own tone and grain. With a power law of radii they share
edges and spectrum with natural images (Lee, Mumford and Huang, *Occlusion models for natural images*, IJCV 2001), and
what networks learn from them holds for photographs (Baradad et al., *Learning to see by looking at noise*, NeurIPS
2021). The IQA model and the reference adapter learn from them what the few objects of the scenes cannot teach.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterable
from multiprocessing.pool import ThreadPool
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw
from tqdm import tqdm

from ...files import written_whole
from ..precision import CPU
from ..rendering import SIZE, SUPERSAMPLING, render
from ..text_encoder import tokenize
from ..world import TRAINING_SEEDS, caption, sample_scene

CHUNK = 500  # scenes in a file of the cache
SENTENCES = 8  # captions of each
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
    """Render the scenes of training seeds 0…``scenes`` - 1, in chunks so that training can begin with the first.

    Chunks that are there are kept. All processors work.
    """
    _make_chunks(_make_scenes, folder, scenes, "scenes")


def make_leaves_cache(folder: Path, pictures: int) -> None:
    """Dead leaves of seeds 0…``pictures`` - 1, as :func:`make_scene_cache`."""
    _make_chunks(_make_leaves, folder, pictures, "dead leaves")


def _make_chunks(make: Callable, folder: Path, count: int, label: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    files = [(folder / f"{start:07d}.npz", range(start, start + CHUNK)) for start in range(0, count, CHUNK)]
    missing = [(file, seeds) for file, seeds in files if not file.exists()]
    with multiprocessing.get_context("fork").Pool() if hasattr(os, "fork") else ThreadPool() as pool:
        for _ in tqdm(pool.imap(make, missing), label, len(missing), unit="chunk"):
            pass


def _make_scenes(chunk: tuple[Path, range]) -> None:
    file, seeds = chunk
    scenes = [sample_scene(TRAINING_SEEDS[seed]) for seed in seeds]
    sentences = np.stack([tokenize([caption(scene, i) for i in range(SENTENCES)]).numpy() for scene in scenes])
    _write(file, pictures=_channels_first(map(render, scenes)), sentences=sentences.astype(np.uint8))


def _make_leaves(chunk: tuple[Path, range]) -> None:
    file, seeds = chunk
    _write(file, pictures=_channels_first(map(dead_leaves, seeds)))


def _channels_first(pictures: Iterable[np.ndarray]) -> np.ndarray:
    return np.stack(list(pictures)).transpose(0, 3, 1, 2)


def _write(file: Path, **arrays: np.ndarray) -> None:
    with written_whole(file) as temporary, temporary.open("wb") as output:
        np.savez(output, **arrays)


class PictureCache:
    """Rendered pictures, and captions where they have some; grows while the cache is still being made.

    Attributes:
        pictures: ``[S, 3, 64, 64]`` bytes, of the seeds from 0 on.
        sentences: ``[S, SENTENCES, 24]`` token numbers of captions, bytes; of scenes only.

    Args:
        folder: of :func:`make_scene_cache` or :func:`make_leaves_cache`.
        device: holds both.

    Raises:
        FileNotFoundError: not one chunk is there.
    """

    def __init__(self, folder: Path, device: torch.device = CPU):
        self.folder, self.device = folder, device
        self.arrays: dict[str, torch.Tensor] = {}
        self.grow()
        if not self.arrays:
            raise FileNotFoundError(f"No pictures in {folder}; run the stage `scenes` first.")

    def __len__(self) -> int:
        return len(self.arrays["pictures"]) if self.arrays else 0

    @property
    def pictures(self) -> torch.Tensor:
        return self.arrays["pictures"]

    def floats(self, numbers: np.ndarray | torch.Tensor | slice) -> torch.Tensor:
        """Some of the pictures in 0…1."""
        return self.pictures[numbers].float() / 255

    @property
    def sentences(self) -> torch.Tensor:
        return self.arrays["sentences"]

    def grow(self) -> None:
        """Take in the chunks that have been made since."""
        first, new = len(self), []
        while (file := self.folder / f"{first:07d}.npz").exists():
            new.append(dict(np.load(file)))
            first += len(new[-1]["pictures"])
        for name in new[0] if new else ():
            fresh = torch.from_numpy(np.concatenate([chunk[name] for chunk in new])).to(self.device)
            self.arrays[name] = torch.cat([self.arrays[name], fresh]) if name in self.arrays else fresh
