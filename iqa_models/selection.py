"""The best of scored pictures that are good enough, and what a metric that did not choose says of them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from . import catalogue
from .scoring import Scores


@dataclass(frozen=True, eq=False)
class Selection:
    """Some of the pictures that were scored.

    Attributes:
        scores: of all pictures.
        metric: that decided.
        chosen: numbers of the pictures, best first.
        passed: how many reach the thresholds.
        check: metric that was set aside, or empty.
    """

    scores: Scores
    metric: str
    chosen: list[int]
    passed: int
    check: str = ""

    def summary(self) -> str:
        """What is kept, and a warning where the metric that was set aside falls."""
        lines = [f"{len(self.chosen)} of {len(self.scores)} pictures kept, {self.passed} are good enough"]
        kept, average = self._means(self.metric)
        lines.append(f"{self.metric}: {kept:.4g} on average, {average:.4g} of all pictures")
        if self.check:
            aside, of_all = self._means(self.check)
            lines.append(f"{self.check}, which was set aside: {aside:.4g} on average, {of_all:.4g} of all pictures")
            if self._better(self.metric) and self._better(self.check) is False:
                lines.append(f"Careful: the kept pictures are better in {self.metric} and worse in {self.check}.")
        return "\n".join(lines)

    def _means(self, metric: str) -> tuple[float, float]:
        column = self.scores.column(metric)[1]
        return column[self.chosen].nanmean().item(), column.nanmean().item()

    def _better(self, metric: str) -> bool | None:
        """Whether the kept pictures are better on average; None where they are the same."""
        kept, average = self._means(metric)
        if kept == average or math.isnan(kept):
            return None
        return (kept > average) == catalogue.find(metric).higher_is_better


def select(scores: Scores, count: int, metric: str, thresholds: Mapping[str, float], check: str) -> Selection:
    """The best pictures among those that reach every threshold.

    Args:
        count: at least 1; fewer are kept where fewer are good enough.
        metric: that decides; the first one if empty.
        thresholds: raw scores by metric.
        check: a metric that is set aside; empty for none.

    Raises:
        ValueError: a metric was not measured, decides and is set aside, or no picture is good enough.
    """
    name, _ = scores.column(metric)
    aside = scores.column(check)[0] if check.strip() else ""
    if aside == name:
        raise ValueError(f"{name} decides, so that it cannot be set aside; write another metric into check_with.")
    good = reached(scores, thresholds)
    if not good.any():
        best = scores.best(1, metric)[0]
        values = ", ".join(f"{each} {scores.column(each)[1][best].item():.4g}" for each in thresholds)
        wanted = ", ".join(f"{each}={value:.4g}" for each, value in thresholds.items())
        raise ValueError(
            f"None of {len(scores)} pictures reaches {wanted}; the best has {values}. Lower the thresholds, or draw "
            "more pictures."
        )
    chosen = [number for number in scores.best(len(scores), metric) if good[number]][:count]
    return Selection(scores, name, chosen, int(good.sum()), aside)


def reached(scores: Scores, thresholds: Mapping[str, float]) -> Tensor:
    """Which pictures are at least as good as every threshold, ``[images]`` of bool."""
    good = torch.ones(len(scores), dtype=torch.bool)
    for metric, threshold in thresholds.items():
        good &= catalogue.find(metric).reached(scores.column(metric)[1], threshold)
    return good
