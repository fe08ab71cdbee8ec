"""A cache of rendered training scenes, made in chunks so that training can begin with the first."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from tqdm import tqdm

from ..rendering import SIZE, render
from ..world import sample_scene

CHUNK = 2000


def make_scene_cache(folder: Path, scenes: int) -> None:
    """Render the scenes of training seeds 0…``scenes`` − 1; chunks that are there are kept."""
    folder.mkdir(parents=True, exist_ok=True)
    for start in tqdm(range(0, scenes, CHUNK), desc="scenes", unit="chunk"):
        file = folder / f"{start:06d}.npy"
        if not file.exists():
            pictures = np.stack([render(sample_scene(seed)) for seed in range(start, start + CHUNK)])
            temporary = file.with_suffix(".part")
            with temporary.open("wb") as output:
                np.save(output, pictures)
            os.replace(temporary, file)


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

    def __getitem__(self, seeds: np.ndarray) -> np.ndarray:
        """uint8 ``[len(seeds), 64, 64, 3]``."""
        pictures = np.empty((len(seeds), SIZE, SIZE, 3), np.uint8)
        for i, seed in enumerate(seeds):
            pictures[i] = self.chunks[seed // CHUNK][seed % CHUNK]
        return pictures
