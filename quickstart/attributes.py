"""The attribute reader: tells what a picture shows and how it is distorted.

It measures results; nothing is trained with its help. The tiny model draws with an unsteady hand. So that uneven
outlines and stripes are not taken for distortions, half of the reader's scenes are warped before they are distorted.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from kornia.augmentation import RandomElasticTransform
from torch import nn
from tqdm import tqdm

from .distortions import KINDS, distort_randomly
from .export import read_weights, write_weights
from .processor import autocast
from .rendering import render_pictures
from .scenes import (  # fmt: skip
    BACKGROUND_COLOURS,
    COLOURS,
    HELD_OUT_SEEDS,
    HELD_OUT_THINGS,
    SEEN_THINGS,
    SHAPES,
    SURFACES,
    TEXTURES,
    Scene,
    sample_scene,
)

READER_WEIGHTS = "reader.safetensors"
CLASSES = {
    "colour": tuple(COLOURS),
    "shape": SHAPES,
    "surface": SURFACES,
    "background_colour": tuple(BACKGROUND_COLOURS),
    "texture": TEXTURES,
    "distortion": KINDS,
}
CLEAN_SHARE = 0.3
# displaces by 1.0 pixel (standard deviation), much the same within 3 pixels
UNSTEADY_HAND = {
    "kernel_size": (17, 17), "sigma": (3.0, 3.0), "alpha": (0.6, 0.6), "resample": "BICUBIC",
    "padding_mode": "reflection",
}  # fmt: skip


def labels(scene: Scene) -> list[int]:
    """Class indices of a scene's five attributes; of its first object where it has two."""
    said = {**vars(scene.things[0]), "background_colour": scene.background_colour, "texture": scene.texture}
    return [CLASSES[name].index(said[name]) for name in list(CLASSES)[:5]]


class AttributeReader(nn.Module):
    """Small convolutional classifier with one head per attribute, one for the distortion and one for its severity."""

    def __init__(self):
        super().__init__()
        layers = []
        for inputs, outputs, stride in ((3, 16, 1), (16, 32, 2), (32, 48, 1), (48, 64, 2), (64, 64, 1), (64, 128, 2)):
            layers += [nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]
        self.body = nn.Sequential(*layers)
        self.heads = nn.ModuleDict({name: nn.Linear(256, len(classes)) for name, classes in CLASSES.items()})
        self.severity = nn.Linear(256, 1)

    def features(self, images: torch.Tensor) -> torch.Tensor:
        """``[N, 3, 64, 64]`` in 0…1 → ``[N, 256]``: mean and maximum of each channel."""
        maps = self.body(images * 2 - 1)
        return torch.cat([maps.mean((2, 3)), maps.amax((2, 3))], 1)

    def forward(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        """Logits ``[N, classes]`` per attribute, and ``severity`` ``[N]`` in about 0…1."""
        features = self.features(images)
        logits = {name: head(features) for name, head in self.heads.items()}
        return {**logits, "severity": self.severity(features)[:, 0]}

    @torch.no_grad()
    def read(self, images: torch.Tensor) -> dict[str, list[str]]:
        """Names of the likeliest attributes: ``{"colour": ["red", …], …}``."""
        logits = self.eval()(images)
        return {name: [classes[i] for i in logits[name].argmax(1)] for name, classes in CLASSES.items()}


def load_reader(folder: Path) -> tuple[AttributeReader, dict]:
    """The trained reader in evaluation mode and the facts of its header."""
    weights, facts = read_weights(folder / READER_WEIGHTS)
    reader = AttributeReader()
    reader.load_state_dict(weights)
    return reader.eval(), facts


def train_reader(work: Path, epochs: int, batch: int = 64) -> dict:
    """Train on the cached scenes with one object, measure on held-out ones, write ``reader.safetensors``."""
    from .scene_cache import SceneCache

    cache = SceneCache(work / "scenes")
    scenes = [scene for scene in map(sample_scene, range(len(cache))) if len(scene.things) == 1]
    targets = torch.tensor([labels(scene) for scene in scenes])
    seeds = np.array([scene.seed for scene in scenes])

    torch.manual_seed(5)
    generator = torch.Generator().manual_seed(5)
    reader = AttributeReader()
    total = epochs * (len(seeds) // batch)
    unsteady = RandomElasticTransform(**UNSTEADY_HAND, p=0.5)
    optimizer = torch.optim.AdamW(reader.parameters(), 4e-3, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total)
    progress = tqdm(total=total, desc="reader", unit="step", mininterval=10)
    for _ in range(epochs):
        for chosen in torch.randperm(len(seeds))[: total // epochs * batch].split(batch):
            clean = torch.from_numpy(cache[seeds[chosen]]).movedim(-1, 1).float() / 255
            images, kinds, severity = distort_randomly(unsteady(clean).clamp(0, 1), CLEAN_SHARE, generator)
            with autocast():
                outputs = reader(images)
            outputs = {name: output.float() for name, output in outputs.items()}
            loss = _loss(outputs, torch.cat([targets[chosen], kinds[:, None]], 1), severity)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            progress.set_postfix(loss=f"{loss.item():.3f}", refresh=False)
            progress.update()
    facts = {"epochs": epochs, "pictures": len(seeds), "seed": 5, "held_out_seeds": measure(reader, SEEN_THINGS)}
    facts["held_out_combinations"] = measure(reader, HELD_OUT_THINGS)
    write_weights(work / READER_WEIGHTS, reader.state_dict(), facts)
    return facts


def _loss(outputs: dict[str, torch.Tensor], targets: torch.Tensor, severity: torch.Tensor) -> torch.Tensor:
    names = sum(F.cross_entropy(outputs[name], target) for name, target in zip(CLASSES, targets.T, strict=True))
    return names + 5 * F.mse_loss(outputs["severity"], severity)


@torch.no_grad()
def measure(reader: AttributeReader, things, count: int = 800) -> dict:
    """Accuracy per attribute on held-out seeds: clean, distorted, and distorted after an unsteady hand."""
    scenes = [sample_scene(seed, things, two_objects=0) for seed in HELD_OUT_SEEDS[10_000 : 10_000 + count]]
    clean = render_pictures(scenes)
    truth = torch.tensor([labels(scene) for scene in scenes])
    with torch.random.fork_rng():
        torch.manual_seed(7)
        unsteady = RandomElasticTransform(**UNSTEADY_HAND, p=1.0)(clean).clamp(0, 1)
    reader.eval()
    result = {"clean": _accuracy(reader, clean, truth, torch.zeros(count, dtype=torch.int64))}
    for name, pictures in (("distorted", clean), ("unsteady_distorted", unsteady)):
        distorted, kinds, severity = distort_randomly(pictures, 1 / len(KINDS), torch.Generator().manual_seed(7))
        told = reader(distorted)["severity"]
        correlation = torch.corrcoef(torch.stack([told, severity]))[0, 1].item()
        result[name] = {**_accuracy(reader, distorted, truth, kinds), "severity_correlation": round(correlation, 4)}
    return result


def _accuracy(reader: AttributeReader, images: torch.Tensor, truth: torch.Tensor, kinds: torch.Tensor) -> dict:
    """Share of right answers per attribute. ``truth`` ``[N, 5]``, ``kinds`` ``[N]``."""
    outputs = reader(images)
    right = dict(zip(CLASSES, torch.cat([truth, kinds[:, None]], 1).T, strict=True))
    return {name: round((outputs[name].argmax(1) == right[name]).float().mean().item(), 4) for name in CLASSES}
