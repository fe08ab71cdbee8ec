"""The attribute reader: recognises what a picture shows and how it is distorted.

It measures results; nothing is trained with its help.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from ..files import fill
from ..pictures.distortions import KINDS
from .weights_file import read_weights
from .world import BACKGROUND_COLOURS, COLOURS, SHAPES, SURFACES, TEXTURES, Scene

READER_WEIGHTS = "reader.safetensors"
CLASSES = {
    "colour": tuple(COLOURS),
    "shape": SHAPES,
    "surface": SURFACES,
    "background_colour": tuple(BACKGROUND_COLOURS),
    "texture": TEXTURES,
    "distortion": KINDS,
}
ATTRIBUTES = tuple(CLASSES)[:5]  # of a scene, by its prompt


def labels(scene: Scene) -> list[int]:
    """Class indices of a scene's five attributes; of its first object where it has two."""
    named = {**vars(scene.things[0]), "background_colour": scene.background_colour, "texture": scene.texture}
    return [CLASSES[name].index(named[name]) for name in ATTRIBUTES]


class AttributeReader(nn.Module):
    """Small convolutional classifier: a head per attribute, one for the distortion and one for the severity of each."""

    def __init__(self):
        super().__init__()
        layers = []
        for inputs, outputs, stride in ((3, 24, 1), (24, 48, 2), (48, 64, 1), (64, 96, 2), (96, 96, 1), (96, 128, 2)):
            layers += [nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]
        self.body = nn.Sequential(*layers).to(memory_format=torch.channels_last)  # faster on processors
        self.heads = nn.ModuleDict({name: nn.Linear(256, len(classes)) for name, classes in CLASSES.items()})
        self.severity = nn.Linear(256, len(KINDS) - 1)

    def features(self, images: torch.Tensor) -> torch.Tensor:
        """``[N, 3, 64, 64]`` in 0…1 -> ``[N, 256]``: mean and maximum of each channel."""
        maps = self.body((images * 2 - 1).contiguous(memory_format=torch.channels_last))
        return torch.cat([maps.mean((2, 3)), maps.amax((2, 3))], 1)

    def content(self, images: torch.Tensor) -> torch.Tensor:
        """Features projected onto what the heads of the five attributes use: ``[N, 30]``, in an orthonormal basis.

        What they do not use depends on how a picture is distorted.
        """
        heads = torch.cat([self.heads[name].weight for name in ATTRIBUTES])
        return self.features(images) @ torch.linalg.qr(heads.T).Q

    def forward(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        """Logits ``[N, classes]`` per attribute, and ``severity`` ``[N, 7]`` in about 0…1, of all kinds but clean."""
        features = self.features(images)
        logits = {name: head(features) for name, head in self.heads.items()}
        return {**logits, "severity": self.severity(features)}

    @torch.no_grad()
    def read(self, images: torch.Tensor) -> dict[str, list[str]]:
        """Names of the likeliest attributes: ``{"colour": ["red", …], …}``."""
        logits = self.eval()(images)
        return {name: [classes[i] for i in logits[name].argmax(1)] for name, classes in CLASSES.items()}


def load_reader(folder: Path) -> tuple[AttributeReader, dict]:
    """The trained reader in evaluation mode and the facts of its header."""
    weights, facts = read_weights(folder / READER_WEIGHTS)
    reader = AttributeReader()
    fill(reader, weights, folder / READER_WEIGHTS)
    return reader.eval(), facts
