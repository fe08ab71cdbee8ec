"""One prompt and one seed, without a reference and with the quality of three distorted photographs."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from ..adapter.tokens import embed_features
from ..figures.grid import labelled_grid
from ..pictures.distortions import distort
from ..pictures.photos import photo
from ..quickstart.adapters import REFERENCE
from ..quickstart.iqa import features
from .picture import ZOOM, Models, Picture, channels_last


def draw(models: Models, settings: Mapping) -> Tensor:
    """References in the upper row; below them what was drawn before, without any, and after, with each of them."""
    references = torch.cat([_reference(**each) for each in settings["references"]])
    prompts, seeds = [settings["prompt"]] * len(references), [settings["seed"]] * len(references)
    before = models.sample(prompts[:1], seeds[:1])
    tokens = embed_features(models.reference, features(models.iqa, references))
    after = models.sample(prompts, seeds, tokens, REFERENCE.strength)
    kinds = [each["kind"].replace("_", " ") for each in settings["references"]]
    captions = [
        "",
        *(f"reference: {kind}" for kind in kinds),
        "before: no reference",
        *(f"after: {kind}" for kind in kinds),
    ]
    pictures = torch.cat([torch.ones_like(before), references, before, after])
    return labelled_grid(channels_last(pictures), captions, 1 + len(references), ZOOM)


def _reference(photo_name: str, kind: str, severity: float, seed: int) -> Tensor:
    """A distorted photograph ``[1, 3, 64, 64]``."""
    return distort(photo(photo_name), kind, severity, torch.Generator().manual_seed(seed))


PICTURE = Picture(
    "reference_strip.png",
    draw,
    {
        "prompt": "a plain white moon on brown leaves",
        "seed": 2,
        "references": [
            {"photo_name": "cat", "kind": "motion_blur", "severity": 0.9, "seed": 0},
            {"photo_name": "coffee", "kind": "white_noise", "severity": 0.8, "seed": 0},
            {"photo_name": "astronaut", "kind": "pixelation", "severity": 0.9, "seed": 0},
        ],
    },
    (REFERENCE.file,),
)
