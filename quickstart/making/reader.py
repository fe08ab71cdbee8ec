"""Training of the attribute reader on clean and distorted scenes.

The tiny model draws uneven outlines and leaves some grain. The reader must take neither for a distortion, nor fail to
see a distortion because of them, so it learns from scenes that are warped and grainy in the same way.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from kornia.augmentation import RandomElasticTransform
from tqdm import tqdm

from ...pictures.distortions import KINDS, distort_randomly
from ..precision import autocast
from ..reader import CLASSES, READER_WEIGHTS, AttributeReader, labels
from ..rendering import render_pictures
from ..world import HELD_OUT_SEEDS, HELD_OUT_THINGS, SEEN_THINGS, sample_scene
from .export import write_weights
from .procedural import PictureCache

CLEAN_SHARE = 0.3
GRAIN = 0.03  # largest standard deviation; 0.12 of that of the severest white noise


class WarpAndGrain:
    """Distorts pictures as :func:`.distort_randomly` does, and makes them uneven and grainy as the tiny model draws.

    Every pixel is displaced, by 1.0 pixel (standard deviation) before the distortion and by a third of one after it;
    displacements vary smoothly, on a scale of 3 pixels. Then noise is added, whose standard deviation is uniform in
    0…``GRAIN``.

    Args:
        share: of the pictures that are displaced, 0…1; before and after independently.
    """

    def __init__(self, share: float):
        smooth = {"kernel_size": (17, 17), "sigma": (3.0, 3.0), "resample": "BICUBIC", "padding_mode": "reflection"}
        self.outlines = RandomElasticTransform(alpha=(0.6, 0.6), p=share, **smooth)
        self.details = RandomElasticTransform(alpha=(0.2, 0.2), p=share, **smooth)

    def distort_randomly(
        self, images: torch.Tensor, clean_share: float, generator: torch.Generator
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Takes and gives what :func:`.distort_randomly` does. Displacements are drawn by torch's global generator."""
        pictures, kinds, severity = distort_randomly(self.outlines(images).clamp(0, 1), clean_share, generator)
        deviation = GRAIN * torch.rand(len(images), 1, 1, 1, generator=generator)
        grain = deviation * torch.randn(images.shape, generator=generator)
        return (self.details(pictures) + grain).clamp(0, 1), kinds, severity


def train_reader(work: Path, epochs: int, batch: int = 64) -> dict:
    """Train on the cached scenes with one object, measure on held-out ones, write ``reader.safetensors``."""
    cache = PictureCache(work / "scenes")
    scenes = [scene for scene in map(sample_scene, range(len(cache))) if len(scene.things) == 1]
    targets = torch.tensor([labels(scene) for scene in scenes])
    seeds = np.array([scene.seed for scene in scenes])

    torch.manual_seed(5)
    generator = torch.Generator().manual_seed(5)
    reader = AttributeReader()
    total = epochs * (len(seeds) // batch)
    warp_and_grain = WarpAndGrain(share=0.5)
    optimizer = torch.optim.AdamW(reader.parameters(), 4e-3, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total)
    progress = tqdm(total=total, desc="reader", unit="step", mininterval=10)
    for _ in range(epochs):
        for chosen in torch.randperm(len(seeds))[: total // epochs * batch].split(batch):
            clean = cache.floats(seeds[chosen])
            images, kinds, severity = warp_and_grain.distort_randomly(clean, CLEAN_SHARE, generator)
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
    """Cross-entropy of the classes ``[N, 6]``, and 5 times the squared error of the severities (other kinds: 0)."""
    names = sum(F.cross_entropy(outputs[name], target) for name, target in zip(CLASSES, targets.T, strict=True))
    of_each = F.one_hot(targets[:, -1], len(KINDS))[:, 1:] * severity[:, None]
    return names + 5 * (outputs["severity"] - of_each).square().sum(1).mean()


@torch.no_grad()
def measure(reader: AttributeReader, things, count: int = 800) -> dict:
    """Accuracy per attribute on held-out seeds: clean, distorted, and distorted with warp and grain (``drawn``)."""
    scenes = [sample_scene(seed, things, two_objects=0) for seed in HELD_OUT_SEEDS[10_000 : 10_000 + count]]
    clean = render_pictures(scenes)
    truth = torch.tensor([labels(scene) for scene in scenes])
    reader.eval()
    result = {"clean": _accuracy(reader, clean, truth, torch.zeros(count, dtype=torch.int64))}
    with torch.random.fork_rng():
        torch.manual_seed(7)
        for name, method in (("distorted", distort_randomly), ("drawn", WarpAndGrain(share=1).distort_randomly)):
            pictures, kinds, severity = method(clean, 1 / len(KINDS), torch.Generator().manual_seed(7))
            bad = kinds > 0
            estimated = reader(pictures[bad])["severity"].gather(1, kinds[bad, None] - 1)[:, 0]
            correlation = torch.corrcoef(torch.stack([estimated, severity[bad]]))[0, 1].item()
            result[name] = {**_accuracy(reader, pictures, truth, kinds), "severity_correlation": round(correlation, 4)}
    return result


def _accuracy(reader: AttributeReader, images: torch.Tensor, truth: torch.Tensor, kinds: torch.Tensor) -> dict:
    """Share of right answers per attribute. ``truth`` ``[N, 5]``, ``kinds`` ``[N]``."""
    outputs = reader(images)
    right = dict(zip(CLASSES, torch.cat([truth, kinds[:, None]], 1).T, strict=True))
    return {name: round((outputs[name].argmax(1) == right[name]).float().mean().item(), 4) for name in CLASSES}
