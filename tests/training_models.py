"""What the tests of training train: a small UNet of ComfyUI and pictures whose quality shows."""

from __future__ import annotations

import comfy.model_base
import comfy.model_patcher
import comfy.supported_models
import models
import torch
from comfy.model_base import ModelType

from iqa_adapter.adapter import metadata
from iqa_adapter.training import observer, settings, stream

CONFIG = {
    "model_channels": 32,
    "num_res_blocks": [1, 1],
    "channel_mult": [1, 2],
    "transformer_depth": [1, 1],
    "transformer_depth_middle": 1,
    "transformer_depth_output": [1, 1, 1, 1],
    "use_linear_in_transformer": False,
    "adm_in_channels": None,
    "num_heads": 4,
}
EMPTY = {"text": torch.zeros(5, models.WIDTH)}
METADATA = metadata.Metadata(metrics=({"name": "brightness", "mean": 0.0, "std": 1.0},))
DIRECTION = torch.tensor([1.0, -1.0, 0.5, 0.0])[:, None, None]  # in which quality moves a latent's mean


def tiny_model(prediction: ModelType = ModelType.EPS) -> comfy.model_patcher.ModelPatcher:
    """A UNet of 7 cross-attention layers with random weights."""
    config = comfy.supported_models.SD15(models.COMMON | CONFIG)
    config.set_inference_dtype(torch.float32, None)
    torch.manual_seed(1)
    model = config.get_model({}, device="cpu")
    models.randomise(model.diffusion_model)
    device = torch.device("cpu")
    patcher = comfy.model_patcher.ModelPatcher(model, load_device=device, offload_device=device)
    if prediction is not ModelType.EPS:
        patcher.add_object_patch("model_sampling", comfy.model_base.model_sampling(config, prediction))
    return patcher


class QualitySet(torch.utils.data.Dataset):
    """Latents whose mean moves with the quality; the text says nothing about it."""

    def __init__(self, size: int = 64, pooled: bool = False):
        self.size, self.pooled = size, pooled

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> dict:
        generator = torch.Generator().manual_seed(index)
        quality = torch.randn(1, generator=generator)
        item = {
            "quality": quality,
            "latent": 0.3 * torch.randn(4, 8, 8, generator=generator) + quality * DIRECTION,
            "text": torch.randn(5, models.WIDTH, generator=generator),
        }
        return item | ({"pooled": torch.randn(1280, generator=generator)} if self.pooled else {})


def data(items=None, description: metadata.Metadata = METADATA) -> stream.TrainingData:
    """What an adapter learns from; pictures of every quality where nothing else is given."""
    return stream.TrainingData(QualitySet() if items is None else items, description, EMPTY)


class Watch(observer.Observer):
    """Losses, notes and sheets of a run, which ``cancel`` may end by what it raises and ``should_stop`` by a yes."""

    def __init__(self, cancel=lambda step, loss: None, should_stop=lambda: False):
        self.cancel, self.should_stop = cancel, should_stop
        self.losses, self.notes, self.sheets, self.prepared = [], [], [], 0

    def step(self, step, loss):
        self.losses.append(loss)
        self.cancel(step, loss)

    def note(self, text):
        self.notes.append(text)

    def sheet(self, step, picture):
        self.sheets.append(picture.name)

    def preparing(self, total):
        return self

    def update(self, count):
        self.prepared += count


def fast_settings(**changes) -> settings.TrainingSettings:
    """Settings for a few steps in float32."""
    values = {"steps": 6, "batch_size": 4, "precision": "float32", "learning_rate": 1e-2, "late_learning_rate": 1e-3}
    return settings.TrainingSettings(**values | changes)
