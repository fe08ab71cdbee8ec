"""The quickstart's score adapter: quality (its IQA model) and colourfulness, trained by the pack's own loop."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch.utils.data import Dataset
from tqdm import tqdm

from ..adapter.checkpoint import save_adapter
from ..adapter.metadata import Metadata
from ..iqa_models.statistics import MetricStatistics
from ..training.loop import train
from ..training.settings import TrainingSettings
from .base_training import CLEAN_SHARE
from .captions import caption
from .colourfulness import colourfulness
from .distortions import distort_randomly
from .iqa import load_iqa
from .model import BLOCK, load_quickstart
from .scene_cache import SceneCache
from .scenes import sample_scene

METRICS = ("quickstart_iqa", "colourfulness")
RANKS = (1, 5, 10, 25, 50, 75, 90, 95, 99)
SCORE_ADAPTER = Path("adapters") / "quickstart_score.safetensors"  # below the work folder and below weights/
SETTINGS = {
    "batch_size": 24,
    "learning_rate": 5e-3,
    "late_learning_rate": 1e-3,
    "precision": "float32",
    "tokens": 4,
}


class ScoredScenes(Dataset):
    """Scenes of mixed quality with their captions and standardised scores, as the training loop takes them."""

    def __init__(self, work: Path, pictures: int):
        cache = SceneCache(work / "scenes")
        seeds = np.arange(min(pictures, len(cache)))
        clean = torch.from_numpy(cache[seeds]).movedim(-1, 1).float() / 255
        images, _, _ = distort_randomly(clean, CLEAN_SHARE, torch.Generator().manual_seed(11))
        scores = torch.stack([quality(images, work), colourfulness(images)], 1)
        self.statistics = [measured(name, column) for name, column in zip(METRICS, scores.T, strict=True)]
        mean, std = (torch.tensor([getattr(known, field) for known in self.statistics]) for field in ("mean", "std"))
        self.quality = (scores - mean) / std
        self.model, clip, _ = load_quickstart(work)
        self.latents = self.model.model.process_latent_in(F.pixel_unshuffle(2 * images - 1, BLOCK))
        sentences = [caption(sample_scene(int(seed)), variant=0) for seed in seeds]
        self.texts = [encode(clip, sentence) for sentence in sentences]
        self.empty_text = {"text": encode(clip, "")}

    def __len__(self) -> int:
        return len(self.latents)

    def __getitem__(self, index: int) -> dict:
        return {"latent": self.latents[index], "text": self.texts[index], "quality": self.quality[index]}


@torch.no_grad()
def quality(images: torch.Tensor, work: Path) -> torch.Tensor:
    """Scores of the quickstart's IQA model, ``[N, 3, H, W]`` in 0...1 -> ``[N]``."""
    model, _ = load_iqa(work)
    return torch.cat([model(part).flatten() for part in images.split(100)])


@torch.no_grad()
def encode(clip, sentence: str) -> torch.Tensor:
    """Text embedding ``[tokens, width]`` as CLIPTextEncode makes it."""
    ((embedding, _),) = clip.encode_from_tokens_scheduled(clip.tokenize(sentence))
    return embedding[0].clone()


def measured(name: str, scores: torch.Tensor) -> MetricStatistics:
    """Statistics of the training set."""
    ranks = {float(rank): scores.quantile(rank / 100).item() for rank in RANKS}
    extremes = {"minimum": scores.min().item(), "maximum": scores.max().item()}
    aesthetic = name == "colourfulness"
    return MetricStatistics(name, scores.mean().item(), scores.std().item(), ranks, **extremes, aesthetic=aesthetic)


def train_score_adapter(work: Path, steps: int, pictures: int = 6000) -> Path:
    """Train, or go on training, and write the adapter; returns its file."""
    scenes = ScoredScenes(work, pictures)
    metadata = Metadata(
        metrics=tuple(known.to_json() for known in scenes.statistics),
        base_model="quickstart",
        origin=f"quickstart.build, {steps} steps of {SETTINGS['batch_size']}",
    )
    settings = TrainingSettings(steps=steps, **SETTINGS)
    target = work / SCORE_ADAPTER
    target.parent.mkdir(exist_ok=True)
    with tqdm(total=steps, desc="score adapter", unit="step", mininterval=10) as progress:

        def report(step: int, loss: float) -> None:
            progress.set_postfix(loss=f"{loss:.4f}", refresh=False)
            progress.update(step - progress.n)

        adapter = train(scenes.model, scenes, settings, work / "score_adapter", metadata, scenes.empty_text, report)
    save_adapter(adapter, target, torch.float16)
    return target
