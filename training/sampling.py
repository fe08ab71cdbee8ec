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
from ..figures.grid import labelled_grid, write_png
from ..files import shown
from ..pictures.cropping import centre_crop, scale_to_cover
from .cache import plain_tokens
from .dataset import TrainingSet
from .encoder import Models
from .settings import SampleSettings
from .stream import TrainingData

SEED = 0
CAPTIONS = 4  # prompts when none are given
FOLDER = "samples"  # of a run's folder
LARGEST = 2**16  # pixels of a side of a sheet


class Samples:
    """Writes ``samples/000500.png`` and so on.

    Every picture of a row starts from the same noise. The columns of a score adapter ask for percentiles of the
    training set, in all metrics at once (those that are better when lower count downwards); those of a reference
    adapter for the quality of training pictures, which are the first row. What was asked for stands below each picture.
    """

    def __init__(self, models: Models, data: TrainingData, settings: SampleSettings, folder: Path):
        items: TrainingSet = data.items
        self.models, self.settings = models, settings
        self.folder = folder / FOLDER
        clip, prompts = models.clip, settings.sample_prompts
        tokens = [clip.tokenize(prompt) for prompt in prompts]  # with weights, as in a graph
        tokens = tokens or [plain_tokens(clip, picture.caption) for picture in items.pictures[:CAPTIONS]]
        self.positive = [clip.encode_from_tokens_scheduled(prompt) for prompt in tokens]
        self.negative = clip.encode_from_tokens_scheduled(clip.tokenize(""))
        self.latent = torch.zeros_like(data.item(0)["latent"])[None]
        self.references: list[Tensor] = []  # ``[H, W, 3]`` each
        ranks = settings.sample_targets
        if items.metadata.kind == "reference":
            places = np.linspace(0, len(items) - 1, len(ranks)).astype(int).tolist()
            chosen = [data.item(place) for place in places]  # without a cache each one is encoded
            self.targets = [item["quality"] for item in chosen]
            self.references = [self._decoded(item["latent"]) for item in chosen]
            keys = [shown(items.pictures[place // items.variants].key) for place in places]
            self.captions = keys + [f"like {key}" for key in keys] * len(self.positive)
        else:
            self.targets = _scores(items, ranks)
            self.captions = [f"quality {rank:g} %" for rank in ranks] * len(self.positive)

    def __call__(self, step: int, adapter: Adapter) -> Path:
        """Sample with the adapter and write the sheet; returns its file."""
        columns = [apply_adapter(self.models.model, embed_quality(adapter, quality[None])) for quality in self.targets]
        pictures = [self._picture(model, positive) for positive in self.positive for model in columns]
        size = pictures[0].shape[:2]
        references = [centre_crop(scale_to_cover(picture, size), size)[0] for picture in self.references]
        grid = labelled_grid(torch.stack(references + pictures), self.captions, len(columns), largest=LARGEST)
        path = self.folder / f"{step:06d}.png"
        write_png(path, grid)
        return path

    def _picture(self, model: ModelPatcher, positive: list) -> Tensor:
        """``[H, W, 3]``"""
        chosen = self.settings
        latent = comfy.sample.sample(
            model, comfy.sample.prepare_noise(self.latent, SEED), chosen.sample_steps, chosen.sample_cfg, "euler",
            "normal", positive, self.negative, self.latent, seed=SEED, disable_pbar=True,
        )  # fmt: skip
        return _first(self.models.vae.decode(latent))

    def _decoded(self, latent: Tensor) -> Tensor:
        """A training picture ``[H, W, 3]``."""
        return _first(self.models.vae.decode(self.models.model.model.process_latent_out(latent[None])))


def _first(pictures: Tensor) -> Tensor:
    """Of ``[N, H, W, 3]``, or of a VAE of videos ``[N, frames, H, W, 3]``."""
    return pictures.reshape(-1, *pictures.shape[-3:])[0]


def newest_sheet(folder: Path, step: int) -> Path | None:
    """The last sheet that a run wrote up to a step; later ones are of a run that was begun anew since."""
    sheets = [path for path in (folder / FOLDER).glob("*.png") if path.stem.isdecimal() and int(path.stem) <= step]
    return max(sheets, key=lambda path: int(path.stem), default=None)


def _scores(items: TrainingSet, ranks: tuple) -> list[Tensor]:
    """Quality inputs ``[m]`` of percentiles."""
    metrics = items.table.metrics(items.settings.metrics)
    raw = [[m.raw_at(rank if m.higher_is_better else 100 - rank) for m in metrics] for rank in ranks]
    return list(items.standardise(torch.tensor(raw)))
