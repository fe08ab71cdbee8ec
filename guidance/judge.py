"""What a search looks for: one to four IQA models with weights, and one that is set aside."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from ..iqa_models.batches import input_size
from ..iqa_models.loading import IQAModel
from ..iqa_models.ranking import standardised
from ..iqa_models.scoring import Scores, best_first, score_images
from ..quality.resize import AS_IS


class NoProgress:
    """Where the search counts by itself."""

    def update(self, _count: int) -> None:
        pass


@dataclass(frozen=True, eq=False)
class Judge:
    """Pictures -> scores -> one number that says how good each is among them.

    Attributes:
        models: different metrics that are searched for.
        weights: of each; above 0 looks for better, below 0 for worse, 0 measures only.
        check: a metric that is not searched for; None for none.
        resize: how the pictures are scaled before the models see them.
        thresholds: raw scores by metric that a picture must reach to be good enough; see :mod:`..quality.thresholds`.

    Raises:
        ValueError: a metric is given twice, or no weight differs from 0.
    """

    models: tuple[IQAModel, ...]
    weights: tuple[float, ...]
    check: IQAModel | None = None
    resize: str = AS_IS
    thresholds: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self):
        names = [model.entry.name for model in self.models]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"{name} is connected twice; connect different metrics, and give one more weight.")
        if self.check is not None and self.check.entry.name in names:
            raise ValueError(
                f"check with is {self.check.entry.name}, which is searched for, so that it could not tell anything; "
                "connect another metric."
            )
        if not any(self.weights):
            raise ValueError("All weights are 0, so that there is nothing to search for; set one to 1.")

    def with_thresholds(self, thresholds: Mapping[str, float]) -> Judge:
        """The same, with raw scores that a picture must reach."""
        return replace(self, thresholds=thresholds)

    @property
    def every(self) -> tuple[IQAModel, ...]:
        """All models, the one set aside last."""
        return self.models + ((self.check,) if self.check is not None else ())

    @property
    def metrics(self) -> tuple[str, ...]:
        return tuple(model.entry.name for model in self.every)

    def check_size(self, height: int, width: int) -> None:
        """Refuse pictures that are too small for one of the models, before any is drawn.

        Raises:
            ValueError: with the smallest side.
        """
        seen = input_size(torch.empty(height, width, 3, device="meta"), self.resize)
        for model in self.every:
            if min(seen) < model.entry.minimum_side:
                raise ValueError(
                    f"The pictures will be {width}x{height}, too small for {model.entry.name}, which needs at least "
                    f"{model.entry.minimum_side} pixels on each side. Draw larger ones, or set resize to 512."
                )

    def __call__(self, pictures: Sequence[Tensor]) -> Tensor:
        """Raw scores, the mean over the frames of each: pictures ``[frames, H, W, 3]`` -> ``[pictures, metrics]``."""
        frames = [frame for picture in pictures for frame in picture]
        values = score_images(self.every, frames, self.resize, progress=NoProgress()).values
        return torch.stack([part.mean(0) for part in values.split([len(picture) for picture in pictures])])

    def goodness(self, values: Tensor) -> Tensor:
        """How good each picture is among these: the weighted sum of z-scores over all of them, direction right.

        Args:
            values: raw scores ``[pictures, metrics]``.

        Returns:
            ``[pictures]``; minus infinity where a metric that counts has no answer.
        """
        total = torch.zeros(len(values), dtype=torch.float64)
        standard = standardised(values[:, : len(self.models)], [model.entry for model in self.models])
        for column, weight in zip(standard.T, self.weights, strict=True):
            if weight:
                total += weight * column
        return total.nan_to_num(nan=-math.inf)

    def best(self, values: Tensor, count: int) -> list[int]:
        """Numbers of the best pictures, best first; the earlier one where two are equal."""
        return best_first(self.goodness(values))[:count]

    def passes(self, values: Tensor) -> Tensor:
        """Which pictures reach every threshold, ``[pictures]`` of bool; all where there is none."""
        passed = torch.ones(len(values), dtype=torch.bool)
        for column, model in zip(values.T, self.every, strict=True):
            threshold = self.thresholds.get(model.entry.name)
            if threshold is not None:
                passed &= model.entry.reached(column, threshold)
        return passed

    def scores(self, pictures: Sequence[Tensor]) -> Scores:
        """IQA_SCORES of pictures ``[H, W, 3]``, one by one."""
        return score_images(self.every, pictures, self.resize, progress=NoProgress())
