"""What gradient guidance did, step by step: scores before and after each move, and an alarm."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from torch import Tensor

from ..figures.score_plots import Line, plot_scores
from ..iqa_models.loading import IQAModel
from .aims import Aim


@dataclass(frozen=True)
class Step:
    """One guided step of one picture.

    Attributes:
        sigma: noise level.
        picture: its number in the batch.
        before, after: raw scores by metric, of the predicted picture before and after the move.
    """

    sigma: float
    picture: int
    before: dict[str, float]
    after: dict[str, float]


@dataclass(eq=False)
class Record:
    """Of the last sampling with a guided model; it begins anew with every sampling.

    Attributes:
        guided: names of the metrics that guide, the first one first.
        signs: by metric without a target, +1 where guidance moves to a higher raw score.
        aside: metric that is set aside, or empty.
        aside_sign: +1 where its higher raw score should go with it.
        steps: that were guided.
    """

    guided: tuple[str, ...]
    signs: Mapping[str, int]
    aside: str = ""
    aside_sign: int = 1
    steps: list[Step] = field(default_factory=list)

    @classmethod
    def of(cls, aims: Sequence[Aim], check: IQAModel | None, maximise: bool = True) -> Record:
        """For these metrics, and one that is set aside.

        Args:
            maximise: the one that is set aside should go to better quality, too.
        """
        signs = {aim.name: 1 if aim.upwards else -1 for aim in aims if aim.target is None}
        record = cls(tuple(aim.name for aim in aims), signs)
        if check is not None:
            record.aside = check.entry.name
            record.aside_sign = 1 if maximise == check.entry.higher_is_better else -1
        return record

    def sampled(self, executor: Callable, *args, **kwargs):
        """Wrapper of a sampling run."""
        self.steps.clear()
        return executor(*args, **kwargs)

    def change(self, metric: str) -> float:
        """Of a raw score by the moves, summed over the steps, mean over the pictures."""
        pictures = len({step.picture for step in self.steps}) or 1
        return sum(step.after[metric] - step.before[metric] for step in self.steps) / pictures

    def verdict(self) -> tuple[str, bool]:
        """What the moves did to the metric set aside, in a sentence, and whether that is alarming."""
        if not self.aside or not self.steps:
            return "", False
        gained = sum(sign * self.change(name) for name, sign in self.signs.items())
        aside = self.change(self.aside)
        if gained > 0 and self.aside_sign * aside < 0:
            return (
                f"Careful: the moves brought {' and '.join(self.guided)} nearer, but changed {self.aside}, which was "
                f"set aside, by {aside:+.3g} in all: they may please the guiding metric alone."
            ), True
        return f"{self.aside}, which was set aside, went with it, by {aside:+.3g} in all.", False

    def table(self) -> str:
        """A line per noise level: mean scores, before and after the move.

        Raises:
            ValueError: no step was guided.
        """
        self._check()
        lines = []
        for number, sigma in enumerate(self._levels(), 1):
            there = [step for step in self.steps if step.sigma == sigma]
            scores = []
            for metric in there[0].before:
                before = np.mean([step.before[metric] for step in there])
                after = np.mean([step.after[metric] for step in there])
                scores.append(f"{metric} {before:.4g} -> {after:.4g}")
            lines.append(f"step {number}, sigma {sigma:.3g}: {', '.join(scores)}")
        return "\n".join([*lines, *filter(None, [self.verdict()[0]])])

    def plot(self) -> Tensor:
        """Mean score of the predicted pictures, step by step, ``[1, H, W, 3]`` in 0…1.

        Raises:
            ValueError: no step was guided.
        """
        self._check()
        levels = self._levels()

        def line(metric: str, kind: str = "-") -> Line:
            scores = [[step.before[metric] for step in self.steps if step.sigma == sigma] for sigma in levels]
            at = list(range(1, len(levels) + 1))
            points = (
                [place for place, each in zip(at, scores, strict=True) for _ in each],
                [score for each in scores for score in each],
            )
            return Line(metric, at, [float(np.mean(each)) for each in scores], points, kind)

        said, alarm = self.verdict()
        title = said.partition(":")[2].strip() if alarm else "score of the predicted picture"
        beside = line(self.aside, "--") if self.aside else None
        return plot_scores([line(name) for name in self.guided], "guided step", "raw score", title, beside, alarm)

    def _check(self) -> None:
        if not self.steps:
            raise ValueError(
                "No step was guided: connect the latent of a sampler that samples with the guided model, a scale above "
                "0, and a range that holds a step."
            )

    def _levels(self) -> list[float]:
        return list(dict.fromkeys(step.sigma for step in self.steps))
