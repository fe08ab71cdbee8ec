"""What a search has found so far: pictures, what they scored, what was spent; and how it ends when it is cancelled."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from comfy.sd import VAE
from torch import Tensor

from ..figures.grid import to_pillow
from ..iqa_models.ranking import standardised
from .judge import Judge
from .noise import Recipe
from .runs import Runs, Sampling

PREVIEW = 512  # pixels


@dataclass(frozen=True, eq=False)
class Picture:
    """One finished picture, or batch or video that is judged as one.

    Attributes:
        recipe: of its noise.
        latent: ``[rows, C, ...]``.
        values: raw scores ``[metrics]``, the mean over the frames.
        evaluations: of the model, all together, when it was finished.
    """

    recipe: Recipe
    latent: Tensor
    values: Tensor
    evaluations: int


@dataclass(frozen=True, eq=False)
class Choice:
    """Some pictures were taken from others, by the searched metrics alone.

    Attributes:
        of, taken: raw scores ``[pictures, metrics]``.
    """

    of: Tensor
    taken: Tensor


@dataclass(eq=False)
class Ledger:
    """Of the search for one latent.

    Attributes:
        sampling, judge, vae: what it works with.
        on_step: called after every step of every sampling.
        show: called with a preview of the best picture so far.
        pictures: finished, in order.
        predicted: evaluations, and raw scores ``[pictures, metrics]``, of unfinished pictures that were judged.
        choices: that were made.
        evaluations: of the model so far.
        tried: different noises so far.
        cancelled: the user ended it early.
    """

    sampling: Sampling
    judge: Judge
    vae: VAE
    on_step: Callable[[], None]
    show: Callable[[tuple], None]
    pictures: list[Picture] = field(default_factory=list)
    predicted: list[tuple[int, Tensor]] = field(default_factory=list)
    choices: list[Choice] = field(default_factory=list)
    evaluations: int = 0
    tried: int = 0
    cancelled: bool = False

    @property
    def values(self) -> Tensor:
        """Raw scores of the finished pictures, ``[pictures, metrics]``."""
        return torch.stack([picture.values for picture in self.pictures])

    def best(self, count: int) -> list[Picture]:
        """The best finished pictures, best first."""
        if not self.pictures:
            return []
        return [self.pictures[number] for number in self.judge.best(self.values, count)]

    def passed(self) -> int:
        """Finished pictures that reach the thresholds."""
        return int(self.judge.passes(self.values).sum()) if self.pictures else 0

    def draw(self, recipes: Sequence[Recipe], drive: Callable[[Runs], Sequence[int]] | None = None) -> list[Picture]:
        """Sample, decode and judge.

        Args:
            recipes: of the noises.
            drive: see :class:`.runs.Sampling`; None samples all to the end.
        """
        self.tried += len(recipes)
        kept: list[int] = []

        def noted(runs: Runs) -> Sequence[int]:
            kept.extend((drive or _to_the_end)(runs))
            return kept

        results, evaluations = self.sampling(recipes, noted, self.on_step)
        self.evaluations += evaluations
        made, best = [], self.best(1)
        for number, latent in zip(kept, results, strict=True):
            image = self.decoded(latent)
            made.append(Picture(recipes[number], latent, self.judge([image])[0], self.evaluations))
            self.pictures.append(made[-1])
            if self.best(1) != best:
                best = self.best(1)
                self._preview(image)
        return made

    def show_prediction(self, latent: Tensor) -> None:
        """Preview of an unfinished picture ``[rows, C, ...]``, where no finished one is there yet."""
        if not self.pictures:
            self._preview(self.decoded(latent))

    def _preview(self, image: Tensor) -> None:
        self.show(("JPEG", to_pillow(image[:1]), PREVIEW))

    def judged(self, latents: Tensor) -> Tensor:
        """Latents ``[pictures · rows, C, ...]`` -> raw scores ``[pictures, metrics]``; one by one, to bound memory."""
        parts = latents.split(len(self.sampling.latent["samples"]))
        return torch.cat([self.judge([self.decoded(latent)]) for latent in parts])

    def decoded(self, latent: Tensor) -> Tensor:
        """Latents of one picture ``[rows, C, ...]`` -> its frames ``[frames, H, W, 3]`` in 0…1."""
        image = self.vae.decode(latent)
        return image.reshape(-1, *image.shape[-3:]).clamp(0, 1)

    def chose(self, of: Tensor, taken: Tensor) -> None:
        self.choices.append(Choice(of, taken))

    def gains(self) -> Tensor:
        """How far what was taken lies above what it was taken from, ``[metrics]``.

        In standard deviations of the pictures that it was taken from, higher for better, summed over the choices.
        """
        total = torch.zeros(len(self.judge.every), dtype=torch.float64)
        for choice in self.choices:
            together = torch.cat([choice.of, choice.taken])
            scores = standardised(together, [model.entry for model in self.judge.every])
            total += scores[len(choice.of) :].nanmean(0) - scores[: len(choice.of)].nanmean(0)
        return total


def _to_the_end(runs: Runs) -> Sequence[int]:
    numbers = range(len(runs.all))
    runs.advance(numbers)
    return numbers
