"""The quickstart's IQA model: a NIMA (Talebi and Milanfar, IEEE TIP 2018) with one score, on a very small backbone."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torchvision.transforms import functional

from ..optional import needed

BACKBONE = "test_efficientnet"  # timm's smallest EfficientNet


class SmallNIMA(nn.Module):
    """``[N, 3, H, W]`` in 0...1 -> ``[N, 1]``; names of modules and numbers are those of pyiqa's ``NIMA``.

    Attributes:
        base_model: feature pyramid; the last of its maps is used.
        classifier: ``[N, C, 1, 1]`` -> ``[N, 1]``.
    """

    def __init__(self):
        super().__init__()
        with needed("timm"):
            import timm
        self.base_model = timm.create_model(BACKBONE, features_only=True)
        self.global_pool = nn.AdaptiveAvgPool2d(1)
        channels = self.base_model.feature_info.channels()[-1]
        self.classifier = nn.Sequential(nn.Flatten(), nn.Dropout(0.0), nn.Linear(channels, 1))
        facts = self.base_model.pretrained_cfg
        self.register_buffer("mean", _per_channel(facts["mean"]), persistent=False)
        self.register_buffer("std", _per_channel(facts["std"]), persistent=False)

    @property
    def side(self) -> int:
        """Of what the backbone sees, in pixels."""
        return self.base_model.default_cfg["input_size"][-1]

    def preprocess(self, images: Tensor) -> Tensor:
        """In evaluation mode the centre, scaled to the backbone's size; colours as it knows them."""
        if not self.training:
            images = functional.center_crop(functional.resize(images, self.side), self.side)
        return (images - self.mean.to(images)) / self.std.to(images)

    def forward(self, images: Tensor) -> Tensor:
        return self.classifier(self.global_pool(self.base_model(self.preprocess(images))[-1]))


def _per_channel(values: tuple[float, ...]) -> Tensor:
    return torch.tensor(values).view(1, -1, 1, 1)


def net() -> SmallNIMA:
    return SmallNIMA()
