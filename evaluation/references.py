"""Reference pictures with one distortion each: scenes of the quickstart, or photographs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from ..pictures.distortions import KINDS, distort
from ..pictures.photos import photo_crops, photo_files
from ..quickstart.reader import labels
from ..quickstart.rendering import render_pictures
from ..quickstart.world import HELD_OUT_SEEDS, SEEN_THINGS, sample_scene
from .cells import Kept, Store

FIRST_SCENE = HELD_OUT_SEEDS.start + 60_000
SEED = 17  # of severities and of distortions
SOURCES = ("scenes", "photographs")


@dataclass(frozen=True)
class References:
    """References of every kind of distortion.

    Attributes:
        kept: by kind, ``count`` pictures.
        severity: ``[count]``, the same for every kind, evenly spread over 0…1.
        content: ``[count, attributes]`` class numbers of what they show; no attributes of photographs.
    """

    kept: dict[str, list[Kept]]
    severity: np.ndarray
    content: np.ndarray


def references(source: str, count: int, side: int, store: Store, variant: int = 0) -> References:
    """Distorted pictures, kept in the store.

    Args:
        source: ``scenes`` or ``photographs``.
        count: for each kind.
        side: of photographs in pixels; scenes have 64.
        variant: another number makes others.
    """
    generator = torch.Generator().manual_seed(SEED + variant)
    order = torch.randperm(count, generator=generator)
    severity = (order + torch.rand(count, generator=generator)) / count  # one in each of `count` equal parts of 0…1
    pictures, content = _scenes(count, variant) if source == "scenes" else _photographs(count, side, variant)
    kept = {}
    for kind in KINDS:
        distorted = distort(pictures, kind, severity, generator)
        facts = [{"reference": source, "number": i, "kind": kind, "severity": float(severity[i])} for i in range(count)]
        kept[kind] = [store.keep(picture, fact) for picture, fact in zip(distorted, facts, strict=True)]
    return References(kept, severity.numpy(), content)


def _scenes(count: int, variant: int) -> tuple[torch.Tensor, np.ndarray]:
    scenes = [sample_scene(FIRST_SCENE + variant * 10_000 + i, SEEN_THINGS, two_objects=0) for i in range(count)]
    return render_pictures(scenes), np.array([labels(scene) for scene in scenes])


def _photographs(count: int, side: int, variant: int) -> tuple[torch.Tensor, np.ndarray]:
    """Crops of each photograph in turn."""
    each = -(-count // len(photo_files()))
    crops = photo_crops(each, side, SEED + variant).unflatten(0, (-1, each)).transpose(0, 1).flatten(0, 1)
    return crops[:count], np.empty((count, 0))
