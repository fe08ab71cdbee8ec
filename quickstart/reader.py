"""The attribute reader: tells what a picture shows and how it is distorted.

It measures results; nothing is trained with its help. It learns from scenes as the tiny model would draw them, so that
uneven outlines and grain are neither taken for distortions nor hide one.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from tqdm import tqdm

from .distortions import KINDS, distort_randomly
from .making.export import read_weights, write_weights
from .making.processor import autocast
from .making.unsteady_hand import UnsteadyHand
from .rendering import render_pictures
from .world import (
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
ATTRIBUTES = tuple(CLASSES)[:5]
CLEAN_SHARE = 0.3


def labels(scene: Scene) -> list[int]:
    """Class indices of a scene's five attributes; of its first object where it has two."""
    said = {**vars(scene.things[0]), "background_colour": scene.background_colour, "texture": scene.texture}
    return [CLASSES[name].index(said[name]) for name in ATTRIBUTES]


class AttributeReader(nn.Module):
    """Small convolutional classifier: a head per attribute, one for the distortion and one for the severity of each."""

    def __init__(self):
        super().__init__()
        layers = []
        for inputs, outputs, stride in ((3, 24, 1), (24, 48, 2), (48, 64, 1), (64, 96, 2), (96, 96, 1), (96, 128, 2)):
            layers += [nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]
        self.body = nn.Sequential(*layers).to(memory_format=torch.channels_last)  # faster on processors
        self.heads = nn.ModuleDict({name: nn.Linear(256, len(classes)) for name, classes in CLASSES.items()})
        self.severity = nn.Linear(256, len(KINDS) - 1)

    def features(self, images: torch.Tensor) -> torch.Tensor:
        """``[N, 3, 64, 64]`` in 0…1 → ``[N, 256]``: mean and maximum of each channel."""
        maps = self.body((images * 2 - 1).contiguous(memory_format=torch.channels_last))
        return torch.cat([maps.mean((2, 3)), maps.amax((2, 3))], 1)

    def content(self, images: torch.Tensor) -> torch.Tensor:
        """What of the features the heads of the five attributes see: ``[N, 30]``, in an orthonormal basis.

        The rest tells how a picture is distorted.
        """
        heads = torch.cat([self.heads[name].weight for name in ATTRIBUTES])
        return self.features(images) @ torch.linalg.qr(heads.T).Q

    def forward(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        """Logits ``[N, classes]`` per attribute, and ``severity`` ``[N, 7]`` in about 0…1, of all kinds but clean."""
        features = self.features(images)
        logits = {name: head(features) for name, head in self.heads.items()}
        return {**logits, "severity": self.severity(features)}

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
    from .making.scene_cache import SceneCache

    cache = SceneCache(work / "scenes")
    scenes = [scene for scene in map(sample_scene, range(len(cache))) if len(scene.things) == 1]
    targets = torch.tensor([labels(scene) for scene in scenes])
    seeds = np.array([scene.seed for scene in scenes])

    torch.manual_seed(5)
    generator = torch.Generator().manual_seed(5)
    reader = AttributeReader()
    total = epochs * (len(seeds) // batch)
    hand = UnsteadyHand(share=0.5)
    optimizer = torch.optim.AdamW(reader.parameters(), 4e-3, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total)
    progress = tqdm(total=total, desc="reader", unit="step", mininterval=10)
    for _ in range(epochs):
        for chosen in torch.randperm(len(seeds))[: total // epochs * batch].split(batch):
            clean = torch.from_numpy(cache[seeds[chosen]]).movedim(-1, 1).float() / 255
            images, kinds, severity = hand.distort_randomly(clean, CLEAN_SHARE, generator)
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
    of_each = F.one_hot(targets[:, -1], len(KINDS))[:, 1:] * severity[:, None]
    return names + 5 * (outputs["severity"] - of_each).square().sum(1).mean()


@torch.no_grad()
def measure(reader: AttributeReader, things, count: int = 800) -> dict:
    """Accuracy per attribute on held-out seeds: clean, distorted, and distorted as the tiny model would draw them."""
    scenes = [sample_scene(seed, things, two_objects=0) for seed in HELD_OUT_SEEDS[10_000 : 10_000 + count]]
    clean = render_pictures(scenes)
    truth = torch.tensor([labels(scene) for scene in scenes])
    reader.eval()
    result = {"clean": _accuracy(reader, clean, truth, torch.zeros(count, dtype=torch.int64))}
    with torch.random.fork_rng():
        torch.manual_seed(7)
        for name, method in (("distorted", distort_randomly), ("drawn", UnsteadyHand(share=1).distort_randomly)):
            pictures, kinds, severity = method(clean, 1 / len(KINDS), torch.Generator().manual_seed(7))
            bad = kinds > 0
            told = reader(pictures[bad])["severity"].gather(1, kinds[bad, None] - 1)[:, 0]
            correlation = torch.corrcoef(torch.stack([told, severity[bad]]))[0, 1].item()
            result[name] = {**_accuracy(reader, pictures, truth, kinds), "severity_correlation": round(correlation, 4)}
    return result


def _accuracy(reader: AttributeReader, images: torch.Tensor, truth: torch.Tensor, kinds: torch.Tensor) -> dict:
    """Share of right answers per attribute. ``truth`` ``[N, 5]``, ``kinds`` ``[N]``."""
    outputs = reader(images)
    right = dict(zip(CLASSES, torch.cat([truth, kinds[:, None]], 1).T, strict=True))
    return {name: round((outputs[name].argmax(1) == right[name]).float().mean().item(), 4) for name in CLASSES}
