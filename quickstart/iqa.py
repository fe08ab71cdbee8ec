"""The quickstart's IQA model: pyiqa's CNNIQA, trained to tell from a picture alone what full-reference metrics say.

The target is the mean of FSIM, GMSD and NLPD between the distorted and the clean picture, each brought to 0…1 first.
A second head, dropped after training, names the distortion: it keeps apart in the features what quality alone would
merge, and the reference adapter needs that.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyiqa
import torch
import torch.nn.functional as F
from pyiqa.archs.cnniqa_arch import CNNIQA
from safetensors import safe_open
from scipy.stats import spearmanr
from tqdm import tqdm

from .dead_leaves import dead_leaves_pictures
from .distortions import KINDS, distort_randomly
from .export import write_weights
from .photos import photo_crops
from .processor import autocast
from .rendering import render
from .scenes import HELD_OUT_SEEDS, sample_scene

IQA_WEIGHTS = "iqa.safetensors"
IQA_MODEL = "quickstart_iqa"  # its name in the catalogue
FEATURE_LAYER = "fc2"
ARCHITECTURE = {"n_kers": 96, "n1_nodes": 256, "n2_nodes": 256, "pretrained": None}
KIND_WEIGHT = 0.05  # of the second head's loss
# Worst (0) and best (1) value of each metric: the 1st percentile of the training pictures, and an intact picture.
TARGET_RANGES = {"fsim": (0.41, 1.0), "gmsd": (0.30, 0.0), "nlpd": (0.67, 0.0)}


class QualityTarget:
    """Mean of full-reference metrics, 0 (worst) … 1 (the clean picture itself)."""

    def __init__(self):
        self.metrics = {name: pyiqa.create_metric(name, device="cpu") for name in TARGET_RANGES}

    @torch.no_grad()
    def __call__(self, distorted: torch.Tensor, clean: torch.Tensor) -> torch.Tensor:
        """``[N, 3, H, W]`` twice → ``[N]``."""
        scores = []
        for name, (worst, best) in TARGET_RANGES.items():
            scores.append((self.metrics[name](distorted, clean).flatten() - worst) / (best - worst))
        return torch.stack(scores).mean(0)


def render_seeds(seeds: range) -> torch.Tensor:
    """Clean scenes ``[N, 3, 64, 64]`` in 0…1."""
    return torch.from_numpy(np.stack([render(sample_scene(seed)) for seed in seeds])).movedim(-1, 1).float() / 255


def make_iqa_data(file: Path, make_clean: Callable[[], torch.Tensor], seed: int, batch: int = 50) -> None:
    """Write distorted pictures, their kinds and targets; made once."""
    if file.exists():
        return
    clean, target, parts, generator = make_clean(), QualityTarget(), [], torch.Generator().manual_seed(seed)
    for start in tqdm(range(0, len(clean), batch), desc="IQA targets", unit="batch"):
        originals = clean[start : start + batch]
        pictures, kinds, severity = distort_randomly(originals, 1 / len(KINDS), generator)
        parts.append(((pictures * 255).round().byte(), kinds, severity, target(pictures, originals)))
    temporary = file.with_suffix(".part")
    torch.save([torch.cat(column) for column in zip(*parts, strict=True)], temporary)
    temporary.replace(file)


def load_iqa(folder: Path) -> tuple[CNNIQA, dict]:
    """The trained model in evaluation mode and the facts of its header."""
    with safe_open(folder / IQA_WEIGHTS, "pt") as file:
        facts = json.loads(file.metadata()["quickstart"])
        weights = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118
    model = CNNIQA(**facts["architecture"])
    model.load_state_dict(weights)
    return model.eval(), facts


@torch.no_grad()
def quality(model: CNNIQA, images: torch.Tensor) -> torch.Tensor:
    """Scores, ``[N, 3, H, W]`` in 0…1 → ``[N]``."""
    return torch.cat([model(part).flatten() for part in images.split(100)])


def features(model: CNNIQA, images: torch.Tensor) -> torch.Tensor:
    """Activations of the feature layer, ``[N, 3, H, W]`` in 0…1 → ``[N, 256]``."""
    outputs = []
    with model.get_submodule(FEATURE_LAYER).register_forward_hook(lambda *call: outputs.append(call[-1])):
        quality(model, images)
    return torch.cat(outputs)


def train_iqa(work: Path, epochs: int, pictures: int = 7000, batch: int = 64) -> dict:
    """Train on as many scenes as dead leaves, measure, write ``iqa.safetensors``; returns the facts of its header."""
    from .scene_cache import SceneCache

    cache = SceneCache(work / "scenes")
    seeds = np.arange(min(pictures, len(cache)))

    def mixed() -> torch.Tensor:
        scenes = torch.from_numpy(cache[seeds]).movedim(-1, 1).float() / 255
        return torch.cat([scenes, dead_leaves_pictures(range(len(seeds)))])

    make_iqa_data(work / "iqa_train.pt", mixed, seed=1)
    make_iqa_data(work / "iqa_scenes.pt", lambda: render_seeds(HELD_OUT_SEEDS[:800]), seed=2)
    make_iqa_data(work / "iqa_photos.pt", lambda: photo_crops(crops=50), seed=3)

    torch.manual_seed(5)
    model, head = CNNIQA(**ARCHITECTURE), torch.nn.Linear(ARCHITECTURE["n2_nodes"], len(KINDS))
    features = []
    model.fc3.register_forward_pre_hook(lambda _, inputs: features.append(inputs[0]))
    data = torch.load(work / "iqa_train.pt", weights_only=True)
    parameters = [*model.parameters(), *head.parameters()]
    optimizer = torch.optim.AdamW(parameters, 2e-3, weight_decay=1e-4)
    total = epochs * (len(data[0]) // batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total)
    progress = tqdm(total=total, desc="iqa", unit="step", mininterval=10)
    for _ in range(epochs):
        for chosen in torch.randperm(len(data[0]))[: total // epochs * batch].split(batch):
            images, kinds, _, target = (column[chosen] for column in data)
            features.clear()
            images = _augment(images.float() / 255)
            with autocast():
                predicted, named = model(images).flatten(), head(features[0])
            loss = F.smooth_l1_loss(predicted.float(), target, beta=0.1)
            loss = loss + KIND_WEIGHT * F.cross_entropy(named.float(), kinds)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            progress.set_postfix(loss=f"{loss.item():.4f}", refresh=False)
            progress.update()
    facts = {"architecture": ARCHITECTURE, "target": TARGET_RANGES, "epochs": epochs, "seed": 5}
    facts["pictures"] = len(data[0])
    for name in ("scenes", "photos"):
        facts[f"held_out_{name}"] = measure(model.eval(), head, features, work / f"iqa_{name}.pt")
    write_weights(work / IQA_WEIGHTS, model.state_dict(), facts)
    return facts


def _augment(images: torch.Tensor) -> torch.Tensor:
    """Mirror images and exchanged colour channels: quality has no side and no hue."""
    if torch.rand(()) < 0.5:
        images = images.flip(3)
    if torch.rand(()) < 0.5:
        images = images.flip(2)
    return images[:, torch.randperm(3)] if torch.rand(()) < 0.5 else images


@torch.no_grad()
def measure(model: CNNIQA, head: torch.nn.Module, features: list, file: Path) -> dict:
    """Spearman's ρ with the target, and how often the distortion is named."""
    images, kinds, _, target = torch.load(file, weights_only=True)
    predicted, named = [], []
    for part in images.split(100):
        features.clear()
        predicted.append(model(part.float() / 255).flatten())
        named.append(head(features[0]).argmax(1))
    return {
        "pictures": len(images),
        "spearman": round(float(spearmanr(torch.cat(predicted), target).statistic), 4),
        "kind_accuracy": round((torch.cat(named) == kinds).float().mean().item(), 4),
    }
