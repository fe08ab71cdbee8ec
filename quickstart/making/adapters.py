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
from ...quality.statistics import RANKS, MetricStatistics
from ...training.loop import train
from ...training.observer import Observer
from ...training.settings import TrainingSettings
from ...training.stream import TrainingData
from ..adapters import REFERENCE, SCORE, QuickstartAdapter
from ..iqa import FEATURE_LAYER, IQA_MODEL, features, load_iqa, quality
from ..model import BLOCK, load_quickstart
from ..precision import multiplies_bfloat16
from ..rendering import SIZE
from ..text_encoder import encode, tokenize
from .mixed_quality import CLEAN_SHARE, distort_by_kind, draw_kinds
from .procedural import PictureCache

PICTURES, BATCH = 15000, 500
LARGER = 4  # times larger are the batches on a GPU
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
    """Scenes with one random distortion each, as the training loop takes them; the kinds ascend."""

    def __init__(self, work: Path, clean_share: float):
        self.model, clip, _ = load_quickstart(work)
        self.device = self.model.load_device
        cache = PictureCache(work / "scenes", self.device)
        count = min(PICTURES, len(cache))
        self.kinds = draw_kinds(np.random.default_rng(DISTORTION_SEED), count, clean_share)
        self.clean = cache.floats(slice(count))
        self.images = self.distort(self.clean)
        self.latents = self.model.model.process_latent_in(F.pixel_unshuffle(2 * self.images - 1, BLOCK)).cpu()
        transformer = clip.cond_stage_model.chunk_encoder.transformer.to(self.device)
        with torch.no_grad():
            texts = [encode(transformer, part.long()) for part in cache.sentences[:count, 0].split(BATCH)]
            (empty,), (empty_pooled,) = encode(transformer, tokenize([""]).to(self.device))
        self.texts, self.pooled = (torch.cat(part).cpu() for part in zip(*texts, strict=True))
        self.empty_text = {"text": empty.cpu(), "pooled": empty_pooled.cpu()}
        self.quality = torch.empty(0)

    def __len__(self) -> int:
        return len(self.latents)

    def __getitem__(self, index: int) -> dict:
        text = {"text": self.texts[index], "pooled": self.pooled[index]}
        return {"latent": self.latents[index], "quality": self.quality[index], **text}

    def distort(self, clean: torch.Tensor) -> torch.Tensor:
        """One distortion each; the same kind, severity and direction at the same place, whatever the pictures."""
        generator = torch.Generator(self.device).manual_seed(DISTORTION_SEED)
        severities, directions = torch.rand(2, len(clean), generator=generator, device=self.device)
        parts = (slice(start, start + BATCH) for start in range(0, len(clean), BATCH))
        columns = (clean, self.kinds, severities, directions * 360)
        return torch.cat([distort_by_kind(*(column[part] for column in columns), generator) for part in parts])

    def like_base_training(self) -> torch.Tensor:
        """Mask ``[N]`` of pictures of which the same share is clean as of the base model's training pictures."""
        clean = torch.from_numpy(self.kinds == 0)
        return ~clean | (clean.cumsum(0) <= (~clean).sum() * CLEAN_SHARE / (1 - CLEAN_SHARE))


def measure_scores(scenes: MixedScenes, work: Path) -> tuple[torch.Tensor, Metadata]:
    """Standardised quality and colourfulness of the training pictures, with percentiles in the base's mixture."""
    model = load_iqa(work)[0].to(scenes.device)
    scores = torch.stack([quality(model, scenes.images), colourfulness(scenes.images)], 1).cpu()
    ranked = scores[scenes.like_base_training()]
    known = [statistics(*each) for each in zip((IQA_MODEL, "colourfulness"), scores.T, ranked.T, strict=True)]
    mean, std = (torch.tensor([getattr(metric, field) for metric in known]) for field in ("mean", "std"))
    return (scores - mean) / std, Metadata(metrics=tuple(known), protocol=str(SIZE))


def measure_references(scenes: MixedScenes, work: Path) -> tuple[torch.Tensor, Metadata]:
    """Standardised activations of other pictures, distorted alike: half of them scenes, half dead leaves."""
    model = load_iqa(work)[0].to(scenes.device)
    others = scenes.clean.roll(len(scenes) // 2, 0)
    leaves = PictureCache(work / "leaves", scenes.device).floats(slice(len(others[::2])))
    others[: 2 * len(leaves) : 2] = leaves  # every other one, so that both sorts meet every kind
    activations = features(model, scenes.distort(others)).cpu()
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
    precision = "bfloat16" if multiplies_bfloat16(scenes.device) else "float32"
    settings = replace(SETTINGS, steps=steps, precision=precision)
    if scenes.device.type != "cpu":  # as many pictures, in larger batches
        settings = replace(settings, batch_size=LARGER * settings.batch_size, steps=steps // LARGER)
    target.parent.mkdir(exist_ok=True)
    with tqdm(total=settings.steps, desc=f"{name} adapter", unit="step", mininterval=10) as progress:

        class Bar(Observer):
            def step(self, step: int, loss: float) -> None:
                progress.set_postfix(loss=f"{loss:.4f}", refresh=False)
                progress.update(step - progress.n)

        data = TrainingData(scenes, metadata, scenes.empty_text)
        folder = work / f"{name}_adapter"
        adapter = train(scenes.model, data, settings, folder, Bar())
    save_adapter(adapter, target, torch.float16)
    return target
