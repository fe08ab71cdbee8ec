"""Do an IQA model's activations separate distortions rather than contents? (arXiv 2412.01794, reference adapters.)

The same distortions are applied to patches of photos, and a nearest-centroid classifier reads them from the features:
the distortion of patches of a photo whose other patches it has not seen, and the photo of patches under a distortion
it has not seen. Good references have a high first accuracy and a low second one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..iqa_models.features import extract_features
from ..pictures import distortions, photos
from ..pictures.picture import read_picture

SEVERITY = 0.6


@dataclass(frozen=True)
class Separability:
    """Share of patches (0...1) that are recognised, and what guessing would give."""

    distortion: float
    distortion_chance: float
    content: float
    content_chance: float


def separability(features: Tensor, distortion: Tensor, content: Tensor) -> Separability:
    """How well features separate distortions and contents.

    Args:
        features: ``[N, dim]``.
        distortion, content: ``[N]`` class numbers from 0.
    """
    return Separability(
        transferred_accuracy(features, distortion, content),
        1 / len(distortion.unique()),
        transferred_accuracy(features, content, distortion),
        1 / len(content.unique()),
    )


def transferred_accuracy(features: Tensor, label: Tensor, group: Tensor) -> float:
    """Nearest-centroid accuracy for ``label``, each group in turn judged by the centroids of all others.

    Features are standardised with the other groups' statistics; distances are Euclidean.
    """
    classes, right = label.unique(), 0
    for held_out in group.unique():
        seen = group != held_out
        mean, std = features[seen].mean(0), features[seen].std(0).clamp_min(1e-6)
        standardised = (features - mean) / std
        centroids = torch.stack([standardised[seen & (label == name)].mean(0) for name in classes])
        nearest = torch.cdist(standardised[~seen], centroids).argmin(1)
        right += (classes[nearest] == label[~seen]).sum().item()
    return right / len(label)


def distorted_patches(side: int, per_photo: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Random patches of the photos under every distortion.

    Returns:
        images ``[N, side, side, 3]`` in 0...1, distortion ``[N]``, content ``[N]``.
    """
    patches, content = _patches(photos.photo_files(), side, per_photo, np.random.default_rng(seed))
    kinds, generator = distortions.KINDS, torch.Generator().manual_seed(seed)
    images = [distortions.distort(patches, kind, SEVERITY, generator) for kind in kinds]
    labels = torch.arange(len(kinds)).repeat_interleave(len(patches))
    return torch.cat(images).movedim(1, -1), labels, content.repeat(len(kinds))


def _patches(files, side: int, per_photo: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """``[N, 3, side, side]`` in the photos' own resolution, and the number of the photo."""
    patches = []
    for file in files:
        photo = read_picture(file).movedim(-1, 0)
        for _ in range(per_photo):
            top, left = (int(rng.integers(length - side + 1)) for length in photo.shape[1:])
            patches.append(photo[:, top : top + side, left : left + side])
    return torch.stack(patches), torch.arange(len(files)).repeat_interleave(per_photo)


def measure(model, layer: str = "", pooling: str = "", side: int = 224, per_photo: int = 4) -> tuple[str, Separability]:
    """Where the features of an IQA model were taken, and their separability."""
    images, distortion, content = distorted_patches(side, per_photo)
    features = extract_features(model, images, layer, pooling)
    return features.source, separability(features.tensor, distortion, content)
