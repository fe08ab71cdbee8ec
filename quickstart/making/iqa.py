"""Training of the quickstart's IQA model.

The target is the mean of FSIM, GMSD and NLPD between the distorted and the clean picture, each brought to 0…1 first.
Two further heads, dropped after training, classify the distortion and estimate its severity: without them the features
would merge distortions of equal quality, which the reference adapter has to distinguish.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyiqa
import torch
import torch.nn.functional as F
from scipy.stats import spearmanr
from torch import nn
from torchvision.transforms.functional import resize
from tqdm import tqdm

from ...files import read_tensors, write_torch
from ...iqa_models import construction
from ...pictures.distortions import KINDS, distort_randomly
from ...pictures.photos import photo_crops
from ..iqa import IQA_MODEL, IQA_WEIGHTS
from ..precision import autocast
from ..rendering import render_pictures
from ..world import HELD_OUT_SEEDS, sample_scene
from .export import write_weights
from .procedural import PictureCache

SCORE_WEIGHT, SEVERITY_WEIGHT = 10.0, 3.0  # in the loss, beside 1 for the kind of distortion
# Worst (0) and best (1) value of each metric: the 1st percentile of the training pictures, and an intact picture.
TARGET_RANGES = {"fsim": (0.41, 1.0), "gmsd": (0.30, 0.0), "nlpd": (0.67, 0.0)}


class QualityTarget:
    """Mean of full-reference metrics, 0 (worst) … 1 (the clean picture itself)."""

    def __init__(self):
        self.metrics = {name: pyiqa.create_metric(name, device="cpu") for name in TARGET_RANGES}

    @torch.no_grad()
    def __call__(self, distorted: torch.Tensor, clean: torch.Tensor) -> torch.Tensor:
        """``[N, 3, H, W]`` twice -> ``[N]``."""
        scores = []
        for name, (worst, best) in TARGET_RANGES.items():
            scores.append((self.metrics[name](distorted, clean).flatten() - worst) / (best - worst))
        return torch.stack(scores).mean(0)


def render_seeds(seeds: range) -> torch.Tensor:
    """Clean scenes ``[N, 3, 64, 64]`` in 0…1."""
    return render_pictures(sample_scene(seed) for seed in seeds)


def make_iqa_data(file: Path, make_clean: Callable[[], torch.Tensor], seed: int, batch: int = 50) -> None:
    """Write distorted pictures, their kinds and targets; made once."""
    if file.exists():
        return
    clean, target, parts, generator = make_clean(), QualityTarget(), [], torch.Generator().manual_seed(seed)
    for start in tqdm(range(0, len(clean), batch), desc="IQA targets", unit="batch"):
        originals = clean[start : start + batch]
        pictures, kinds, severity = distort_randomly(originals, 1 / len(KINDS), generator)
        parts.append(((pictures * 255).round().byte(), kinds, severity, target(pictures, originals)))
    write_torch(file, [torch.cat(column) for column in zip(*parts, strict=True)])


class _Heads(nn.Module):
    """The IQA model, and beside its score what is dropped after training: kinds and a severity of each kind."""

    def __init__(self):
        super().__init__()
        self.model = construction.build(IQA_MODEL, {}).requires_grad_(True)
        width = self.model.classifier[-1].in_features
        self.kinds, self.severities = nn.Linear(width, len(KINDS)), nn.Linear(width, len(KINDS))
        self.to(memory_format=torch.channels_last)

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """``[N, 3, 64, 64]`` in 0…1 -> scores ``[N]``, logits of the kinds and severities ``[N, 8]``."""
        large = resize(images, self.model.base_model.default_cfg["input_size"][-1])  # as NIMA does when it judges
        with autocast():
            maps = self.model.base_model(self.model.preprocess(large).to(memory_format=torch.channels_last))
        features = maps[-1].float().mean((2, 3))
        return self.model.classifier(features).flatten(), self.kinds(features), self.severities(features)

    def loss(self, images: torch.Tensor, kinds: torch.Tensor, severity: torch.Tensor, target: torch.Tensor):
        scores, logits, severities = self(images)
        estimated = severities.gather(1, kinds[:, None])[:, 0]
        return (
            SCORE_WEIGHT * F.smooth_l1_loss(scores, target, beta=0.1)
            + F.cross_entropy(logits, kinds)
            + SEVERITY_WEIGHT * ((estimated - severity) * (kinds > 0)).square().mean()
        )


def train_iqa(work: Path, epochs: int, pictures: int = 5000, batch: int = 64) -> dict:
    """Train on as many scenes as dead leaves, measure, write ``iqa.safetensors``; returns the facts of its header."""
    cache = PictureCache(work / "scenes")
    seeds = np.arange(min(pictures, len(cache)))

    def mixed() -> torch.Tensor:
        scenes = cache.floats(seeds)
        return torch.cat([scenes, PictureCache(work / "leaves").floats(slice(len(seeds)))])

    make_iqa_data(work / "iqa_train.pt", mixed, seed=1)
    make_iqa_data(work / "iqa_scenes.pt", lambda: render_seeds(HELD_OUT_SEEDS[:800]), seed=2)
    make_iqa_data(work / "iqa_photos.pt", lambda: photo_crops(crops=50), seed=3)

    torch.manual_seed(5)
    heads = _Heads().train()
    data = read_tensors(work / "iqa_train.pt").content
    optimizer = torch.optim.AdamW(heads.parameters(), 3e-3, weight_decay=1e-3)
    total = epochs * (len(data[0]) // batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total)
    progress = tqdm(total=total, desc="iqa", unit="step", mininterval=10)
    for _ in range(epochs):
        for chosen in torch.randperm(len(data[0]))[: total // epochs * batch].split(batch):
            images, *truth = (column[chosen] for column in data)
            loss = heads.loss(_augment(images.float() / 255), *truth)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            progress.set_postfix(loss=f"{loss.item():.4f}", refresh=False)
            progress.update()
    facts = {"target": TARGET_RANGES, "epochs": epochs, "seed": 5, "pictures": len(data[0])}
    for name in ("scenes", "photos"):
        facts[f"held_out_{name}"] = measure(heads.eval(), work / f"iqa_{name}.pt")
    write_weights(work / IQA_WEIGHTS, heads.model.state_dict(), facts)
    return facts


def _augment(images: torch.Tensor) -> torch.Tensor:
    """Mirror images and exchanged colour channels: quality has no side and no hue."""
    if torch.rand(()) < 0.5:
        images = images.flip(3)
    if torch.rand(()) < 0.5:
        images = images.flip(2)
    return images[:, torch.randperm(3)] if torch.rand(()) < 0.5 else images


@torch.no_grad()
def measure(heads: _Heads, file: Path) -> dict:
    """Agreement of scores and target, of estimated and true distortions.

    Returns:
        Spearman's rho of score and target, among all pictures and within each kind; how often the kind is right; and
        the correlation of estimated and true severities, mean over the kinds.
    """
    images, kinds, severity, target = read_tensors(file).content
    outputs = [heads(part.float() / 255) for part in images.split(100)]
    scores, logits, severities = (torch.cat(column) for column in zip(*outputs, strict=True))
    within, correlations = {}, []
    for index, kind in enumerate(KINDS[1:], 1):
        of_kind = kinds == index
        within[kind] = _rounded(spearmanr(scores[of_kind], target[of_kind]).statistic)
        correlations.append(np.corrcoef(severities[of_kind, index], severity[of_kind])[0, 1])
    return {
        "pictures": len(images),
        "spearman": _rounded(spearmanr(scores, target).statistic),
        "spearman_within": within,
        "kind_accuracy": _rounded((logits.argmax(1) == kinds).float().mean()),
        "severity_correlation": _rounded(np.mean(correlations)),
    }


def _rounded(number: float) -> float:
    return round(float(number), 4)
