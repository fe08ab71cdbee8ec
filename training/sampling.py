"""Pictures that show how far a training is: a row per prompt, a column per quality."""

from __future__ import annotations

from pathlib import Path

import comfy.sample
import numpy as np
import torch
from comfy.model_patcher import ModelPatcher
from torch import Tensor

from ..adapter.adapter import Adapter
from ..adapter.apply import apply_adapter
from ..adapter.tokens import embed_quality
from ..figures.grid import sheet, write_png
from .cache import plain_tokens
from .dataset import TrainingSet
from .encoder import Models
from .settings import SampleSettings
from .stream import TrainingData

SEED = 0
CAPTIONS = 4  # prompts when none are given


class Samples:
    """Writes ``samples/000500.png`` and so on.

    Every picture of a row starts from the same noise. The columns of a score adapter ask for percentiles of the
    training set, in all metrics at once (those that are better when lower count downwards); those of a reference
    adapter for the quality of training pictures.
    """

    def __init__(self, models: Models, data: TrainingData, settings: SampleSettings, folder: Path):
        items: TrainingSet = data.items
        self.models, self.settings = models, settings
        self.folder = folder / "samples"
        clip, prompts = models.clip, settings.sample_prompts
        tokens = [clip.tokenize(prompt) for prompt in prompts]  # with weights, as in a graph
        tokens = tokens or [plain_tokens(clip, picture.caption) for picture in items.pictures[:CAPTIONS]]
        self.positive = [clip.encode_from_tokens_scheduled(prompt) for prompt in tokens]
        self.negative = clip.encode_from_tokens_scheduled(clip.tokenize(""))
        self.latent = torch.zeros_like(data.item(0)["latent"])[None]
        self.targets = _targets(data, settings.sample_targets)

    def __call__(self, step: int, adapter: Adapter) -> Path:
        """Sample with the adapter and write the sheet; returns its file."""
        columns = [apply_adapter(self.models.model, embed_quality(adapter, quality[None])) for quality in self.targets]
        pictures = torch.stack([self._picture(model, positive) for positive in self.positive for model in columns])
        path = self.folder / f"{step:06d}.png"
        write_png(path, sheet(pictures, len(columns)))
        return path

    def _picture(self, model: ModelPatcher, positive: list) -> Tensor:
        """``[H, W, 3]``"""
        chosen = self.settings
        latent = comfy.sample.sample(
            model, comfy.sample.prepare_noise(self.latent, SEED), chosen.sample_steps, chosen.sample_cfg, "euler",
            "normal", positive, self.negative, self.latent, seed=SEED, disable_pbar=True,
        )  # fmt: skip
        return self.models.vae.decode(latent)[0]


def _targets(data: TrainingData, ranks: tuple) -> list[Tensor]:
    """Quality inputs ``[m]``."""
    items: TrainingSet = data.items
    if items.metadata.kind == "reference":
        places = np.linspace(0, len(items) - 1, len(ranks)).astype(int)
        return [data.item(place)["quality"] for place in places.tolist()]
    metrics = items.table.metrics(items.settings.metrics)
    raw = [[m.raw_at(rank if m.higher_is_better else 100 - rank) for m in metrics] for rank in ranks]
    return list(items.standardise(torch.tensor(raw)))
