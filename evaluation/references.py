"""Reference pictures with one distortion each: scenes of the quickstart, or photographs."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from ..pictures import blocks, distortions, filters, photos
from ..pictures.distortions import KINDS, distort
from ..pictures.photos import photo_crops, photo_files
from ..quickstart import rendering
from ..quickstart.reader import labels
from ..quickstart.rendering import render_pictures
from ..quickstart.world import HELD_OUT_SEEDS, SEEN_THINGS, Scene, sample_scene
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
    """Distorted pictures, kept in the store; made once, for distorting hundreds of large ones takes minutes.

    Args:
        source: ``scenes`` or ``photographs``.
        count: for each kind.
        side: of photographs in pixels; scenes have 64.
        store: keeps them, and a list of them.
        variant: another number makes others.
    """
    generator = torch.Generator().manual_seed(SEED + variant)
    order = torch.randperm(count, generator=generator)
    severity = (order + torch.rand(count, generator=generator)) / count  # one in each of `count` equal parts of 0…1
    scenes = _scenes(count, variant) if source == "scenes" else []
    content = np.array([labels(scene) for scene in scenes]).reshape(count, -1)

    def made() -> dict[str, list[Kept]]:
        pictures = render_pictures(scenes) if scenes else _photographs(count, side, variant)
        kept = {}
        for kind in KINDS:
            distorted = distort(pictures, kind, severity, generator)
            facts = [{"reference": source, "number": i, "kind": kind, "severity": float(severity[i])}
                     for i in range(count)]  # fmt: skip
            kept[kind] = [store.keep(picture, fact) for picture, fact in zip(distorted, facts, strict=True)]
        return kept

    identity = {"source": source, "count": count, "side": side, "variant": variant, "code": _code()}
    return References(store.listed(identity, list(KINDS), count, made), severity.numpy(), content)


def _scenes(count: int, variant: int) -> list[Scene]:
    return [sample_scene(FIRST_SCENE + variant * 10_000 + i, SEEN_THINGS, two_objects=0) for i in range(count)]


def _photographs(count: int, side: int, variant: int) -> torch.Tensor:
    """Crops of each photograph in turn."""
    each = -(-count // len(photo_files()))
    return photo_crops(each, side, SEED + variant).unflatten(0, (-1, each)).transpose(0, 1).flatten(0, 1)[:count]


def _code() -> list[str]:
    """Digests of the code that makes references."""
    modules = (distortions, blocks, filters, photos, rendering)
    return [hashlib.sha256(Path(module.__file__).read_bytes()).hexdigest() for module in modules]
