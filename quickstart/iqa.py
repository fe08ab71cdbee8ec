"""The quickstart's IQA model: a small NIMA, trained to predict full-reference metrics from a picture alone."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from ..iqa_models import catalogue, construction
from .weights_file import read_weights

IQA_WEIGHTS = "iqa.safetensors"
IQA_MODEL = catalogue.QUICKSTART
FEATURE_LAYER = "classifier.1"  # pooled activations
BATCH = 100


def load_iqa(folder: Path) -> tuple[nn.Module, dict]:
    """The trained model (:mod:`..iqa_models.small_nima`) in evaluation mode and the facts of its header."""
    file = folder / IQA_WEIGHTS
    _, facts = read_weights(file)
    return construction.build(IQA_MODEL, {IQA_WEIGHTS: file}), facts


@torch.no_grad()
def quality(model: nn.Module, images: torch.Tensor) -> torch.Tensor:
    """Scores, ``[N, 3, H, W]`` in 0…1 -> ``[N]``."""
    return torch.cat([model(part).flatten() for part in images.split(BATCH)])


def features(model: nn.Module, images: torch.Tensor) -> torch.Tensor:
    """Activations of the feature layer, ``[N, 3, H, W]`` in 0…1 -> ``[N, 64]``."""
    outputs = []
    with model.get_submodule(FEATURE_LAYER).register_forward_hook(lambda *call: outputs.append(call[-1])):
        quality(model, images)
    return torch.cat(outputs)
