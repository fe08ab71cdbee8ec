"""Training of the quickstart's two adapters, by the pack's own loop, on scenes of mixed quality.

The score adapter is asked for quality (by the quickstart's IQA model) and colourfulness. The reference adapter is asked
for the IQA model's activations of *another* picture with the same distortion of the same severity and direction, so
that quality is all that the two have in common and no content can be copied.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch.utils.data import Dataset
from tqdm import tqdm

from ...adapter.checkpoint import save_adapter
from ...adapter.metadata import Metadata
from ...iqa_models.colourfulness import colourfulness
from ...pictures.distortions import distort_randomly
from ...quality.statistics import RANKS, MetricStatistics
from ...training.cache import encode_text
from ...training.loop import train
from ...training.observer import Observer
from ...training.settings import TrainingSettings
from ...training.stream import TrainingData
from ..adapters import REFERENCE, SCORE, QuickstartAdapter
from ..iqa import FEATURE_LAYER, IQA_MODEL, features, load_iqa, quality
from ..model import BLOCK, load_quickstart
from ..precision import multiplies_bfloat16
from ..rendering import SIZE
from ..world import caption, sample_scene
from .base_training import CLEAN_SHARE
from .procedural import SceneCache, dead_leaves_pictures

PICTURES = 15000
DISTORTION_SEED = 11
SETTINGS = TrainingSettings(
    batch_size=16,
    learning_rate=3e-3,
    late_learning_rate=6e-4,
    ema_decay=0.98,
    gradient_clip=1.0,
    projection="mlp",
    timestep_power=1.5,  # grain and blocks are decided where little noise is left
    checkpoint_interval=100,
)


class MixedScenes(Dataset):
    """Scenes with one random distortion each, as the training loop takes them."""

    def __init__(self, work: Path, clean_share: float):
        self.clean_share = clean_share
        cache = SceneCache(work / "scenes")
        self.seeds = np.arange(min(PICTURES, len(cache)))
        self.clean = cache.pictures(self.seeds)
        self.images, self.kinds, _ = self._distorted(self.clean)
        self.model, clip, _ = load_quickstart(work)
        self.latents = self.model.model.process_latent_in(F.pixel_unshuffle(2 * self.images - 1, BLOCK))
        self.texts = [encode_text(clip, caption(sample_scene(int(seed)), variant=0)) for seed in self.seeds]
        self.empty_text = encode_text(clip, "")
        self.quality = torch.empty(0)

    def __len__(self) -> int:
        return len(self.latents)

    def __getitem__(self, index: int) -> dict:
        return {"latent": self.latents[index], "quality": self.quality[index], **self.texts[index]}

    def distort(self, clean: torch.Tensor) -> torch.Tensor:
        """One distortion each; the same kind, severity and direction at the same place, whatever the pictures."""
        return self._distorted(clean)[0]

    def _distorted(self, clean: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        return distort_randomly(clean, self.clean_share, torch.Generator().manual_seed(DISTORTION_SEED))

    def like_base_training(self) -> torch.Tensor:
        """Mask ``[N]`` of pictures of which the same share is clean as of the base model's training pictures."""
        clean = self.kinds == 0
        return ~clean | (clean.cumsum(0) <= (~clean).sum() * CLEAN_SHARE / (1 - CLEAN_SHARE))


def measure_scores(scenes: MixedScenes, work: Path) -> tuple[torch.Tensor, Metadata]:
    """Standardised quality and colourfulness of the training pictures, with percentiles in the base's mixture."""
    model, _ = load_iqa(work)
    scores = torch.stack([quality(model, scenes.images), colourfulness(scenes.images)], 1)
    ranked = scores[scenes.like_base_training()]
    known = [statistics(*each) for each in zip((IQA_MODEL, "colourfulness"), scores.T, ranked.T, strict=True)]
    mean, std = (torch.tensor([getattr(metric, field) for metric in known]) for field in ("mean", "std"))
    return (scores - mean) / std, Metadata(metrics=tuple(known), protocol=str(SIZE))


def measure_references(scenes: MixedScenes, work: Path) -> tuple[torch.Tensor, Metadata]:
    """Standardised activations of other pictures, distorted alike: half of them scenes, half dead leaves."""
    model, _ = load_iqa(work)
    half = len(scenes) // 2
    others = torch.cat([dead_leaves_pictures(range(half)), scenes.clean.roll(half, 0)[half:]])
    activations = features(model, scenes.distort(others))
    mean, std = activations.mean(0), activations.std(0)
    metadata = Metadata(
        kind="reference",
        iqa_model=IQA_MODEL,
        layer=FEATURE_LAYER,
        pooling="none",
        protocol=str(SIZE),
        feature_mean=tuple(mean.tolist()),
        feature_std=tuple(std.tolist()),
    )
    return (activations - mean) / std, metadata


def statistics(name: str, scores: torch.Tensor, ranked: torch.Tensor) -> MetricStatistics:
    """Statistics of the training set's scores ``[N]``, with the percentiles of ``ranked`` ``[M]``."""
    ranks = {float(rank): ranked.quantile(rank / 100).item() for rank in RANKS}
    extremes = {"minimum": scores.min().item(), "maximum": scores.max().item()}
    aesthetic = name == "colourfulness"
    return MetricStatistics(name, scores.mean().item(), scores.std().item(), ranks, **extremes, aesthetic=aesthetic)


@dataclass(frozen=True)
class AdapterTraining:
    """What distinguishes the training of the two adapters."""

    adapter: QuickstartAdapter
    measure: Callable[[MixedScenes, Path], tuple[torch.Tensor, Metadata]]
    """(training pictures, work folder) -> (quality ``[N, m]``, metadata)"""
    clean_share: float
    """Of the training pictures; the others have one distortion each."""


# Mild distortions score like clean pictures; with more clean ones, the highest scores stand for clean. Percentiles are
# those of the base's mixture: among the score adapter's pictures, everything from 50 % on would mean clean.
SCORE_TRAINING = AdapterTraining(SCORE, measure_scores, clean_share=1 / 2)
REFERENCE_TRAINING = AdapterTraining(REFERENCE, measure_references, clean_share=1 / 8)  # as many as of each distortion


def train_adapter(training: AdapterTraining, work: Path, steps: int) -> Path:
    """Train, or go on training, and write the adapter; returns its file.

    Args:
        work: holds ``scenes/``, ``base.safetensors`` and ``iqa.safetensors``; the run's folder is made in it.
        steps: of the training in all.
    """
    name, target = training.adapter.name, work / training.adapter.file
    scenes = MixedScenes(work, training.clean_share)
    scenes.quality, metadata = training.measure(scenes, work)
    precision = "bfloat16" if multiplies_bfloat16() else "float32"
    settings = replace(SETTINGS, steps=steps, precision=precision)
    target.parent.mkdir(exist_ok=True)
    with tqdm(total=steps, desc=f"{name} adapter", unit="step", mininterval=10) as progress:

        class Bar(Observer):
            def step(self, step: int, loss: float) -> None:
                progress.set_postfix(loss=f"{loss:.4f}", refresh=False)
                progress.update(step - progress.n)

        data = TrainingData(scenes, metadata, scenes.empty_text)
        folder = work / f"{name}_adapter"
        adapter = train(scenes.model, data, settings, folder, Bar())
    save_adapter(adapter, target, torch.float16)
    return target
