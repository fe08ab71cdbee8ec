"""What a picture of the documentation is, and what draws for all of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor, nn

from ..adapter.adapter import Adapter
from ..adapter.checkpoint import load_adapter
from ..adapter.tokens import embed_quality
from ..quality.targets import sliders
from ..quickstart.adapters import REFERENCE, SCORE
from ..quickstart.iqa import IQA_WEIGHTS, load_iqa
from ..quickstart.model import BASE_WEIGHTS, WEIGHTS, load_quickstart
from ..quickstart.sampling import BatchSampler

ZOOM = 4  # of the quickstart's 64 pixels


class Models:
    """The quickstart's models, each loaded when the first picture needs it."""

    @cached_property
    def sample(self) -> BatchSampler:
        return BatchSampler(*load_quickstart())

    @cached_property
    def iqa(self) -> nn.Module:
        return load_iqa(WEIGHTS)[0]

    @cached_property
    def score(self) -> Adapter:
        return load_adapter(WEIGHTS / SCORE.file)

    @cached_property
    def reference(self) -> Adapter:
        return load_adapter(WEIGHTS / REFERENCE.file)

    def requested(self, prompt: str, seed: int, requests: Sequence[tuple[float, float]]) -> Tensor:
        """One prompt and one seed for every (quality, colourfulness), in percent: ``[N, 3, 64, 64]`` in 0…1."""
        metrics, count = self.score.metadata.metrics, len(requests)
        tokens = embed_quality(self.score, torch.tensor([sliders(metrics, *request) for request in requests]))
        return self.sample([prompt] * count, [seed] * count, tokens, SCORE.strength)


@dataclass(frozen=True)
class Picture:
    """How a picture is made.

    Attributes:
        name: of its file in ``docs/images``.
        draw: ``(models, settings)`` -> ``[1, height, width, 3]`` in 0…1.
        settings: numbers, texts and lists of them.
        adapters: of the quickstart, which it shows.
    """

    name: str
    draw: Callable[[Models, Mapping], Tensor]
    settings: Mapping
    adapters: tuple[Path, ...]

    @property
    def weights(self) -> tuple[Path, ...]:
        """Files whose weights decide how it looks."""
        return tuple(WEIGHTS / file for file in (BASE_WEIGHTS, IQA_WEIGHTS, *self.adapters))


def channels_last(pictures: Tensor) -> Tensor:
    """``[N, 3, H, W]`` -> ``[N, H, W, 3]``, as :mod:`..figures.grid` takes them."""
    return torch.movedim(pictures, 1, -1)
