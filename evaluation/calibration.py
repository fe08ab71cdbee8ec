"""Calibration on the quickstart: what is measured where so much was asked for, on prompts and seeds of its own.

The curve is fitted on pictures of one set of prompts and seeds; others, with objects that the base model never learnt
in that combination, show what it is worth. Beside it stands what a raw target gives without calibration.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from ..adapter.checkpoint import load_adapter
from ..adapter.tokens import embed_quality
from ..iqa_models.catalogue import QUICKSTART
from ..quality.calibration import ResponseOfMetric, fitted
from ..quality.targets import requested
from ..quickstart.adapters import SCORE
from ..quickstart.iqa import load_iqa, quality
from ..quickstart.model import WEIGHTS, load_quickstart
from ..quickstart.rendering import SIZE
from ..quickstart.sampling import BatchSampler
from ..quickstart.world import (
    BACKGROUND_COLOURS,
    HELD_OUT_SEEDS,
    HELD_OUT_THINGS,
    SEEN_THINGS,
    TEXTURES,
    Scene,
    Thing,
    prompt,
)
from .experiment import Table

ASKED = (0.75, 0.85, 0.95)
LEVELS = (1, 15, 30, 35, 40, 45, 50, 55, 60, 75, 99)  # denser where the adapter answers most
MEDIAN = 50.0
FIT, CHECK = 200_000, 300_000  # first seeds of the two sets, within the held-out ones


@dataclass(frozen=True)
class Check:
    """One asked value.

    Attributes:
        asked: measured quality that was wanted.
        percentile: that the calibration asked for.
        calibrated, raw: scores of the pictures with it, and with a raw target in its place, ``[N]``.
    """

    asked: float
    percentile: float
    calibrated: Tensor
    raw: Tensor

    def row(self) -> list[str]:
        cells = [f"{self.asked:g}", f"{self.percentile:.1f} %"]
        for scores in (self.calibrated, self.raw):
            error = scores.mean().item() - self.asked
            cells.append(f"{scores.mean():.3f} ± {scores.std() / math.sqrt(len(scores)):.3f} ({error:+.3f})")
        return cells


class Quickstart:
    """The quickstart's score adapter, which is asked for a quality and measured."""

    def __init__(self):
        self.sample = BatchSampler(*load_quickstart())
        self.adapter = load_adapter(WEIGHTS / SCORE.file)
        self.iqa, _ = load_iqa(WEIGHTS)

    def measured(self, prompts: list[str], seeds: list[int], quality_level: float, targets: str = "") -> Tensor:
        """Scores ``[N]`` of a picture for every prompt and seed."""
        request = requested(self.adapter.metadata.metrics, quality_level, MEDIAN, targets)
        tokens = embed_quality(self.adapter, request.expand(len(seeds), -1))
        return quality(self.iqa, self.sample(prompts, seeds, tokens, SCORE.strength))


def fit(models: Quickstart, pictures: int, levels: tuple[float, ...] = LEVELS) -> ResponseOfMetric:
    """The curve of ``pictures`` prompts and seeds at each level, others at every level."""
    asked, scores = [], []
    for number, level in enumerate(levels):
        prompts, seeds = _set(FIT + number * pictures, pictures, SEEN_THINGS)
        asked += [float(level)] * pictures
        scores += models.measured(prompts, seeds, level).tolist()
    return fitted(asked, scores, QUICKSTART, str(SIZE))


def check(models: Quickstart, curve: ResponseOfMetric, pictures: int, asked: tuple[float, ...] = ASKED) -> list[Check]:
    """Every asked value, measured on ``pictures`` prompts and seeds that the fit never saw."""
    prompts, seeds = _set(CHECK, pictures, HELD_OUT_THINGS)
    checks = []
    for value in asked:
        percentile = curve.percentile_for(value)
        calibrated = models.measured(prompts, seeds, percentile)
        raw = models.measured(prompts, seeds, MEDIAN, f"{QUICKSTART}={value}")
        checks.append(Check(value, percentile, calibrated, raw))
    return checks


def table(checks: Sequence[Check]) -> Table:
    """Asked, requested, and measured with and without calibration: mean, standard error, error."""
    return Table(
        ["asked", "requested", "measured, calibrated", "measured, raw target"], [each.row() for each in checks]
    )


def _set(first: int, count: int, things: tuple[Thing, ...]) -> tuple[list[str], list[int]]:
    """A prompt and a seed of its own for every picture; objects and backgrounds take turns, so that none prevails."""
    prompts, seeds, colours = [], list(range(first, first + count)), list(BACKGROUND_COLOURS)
    for number in seeds:
        turn = number // len(things)
        background = colours[number % len(colours)], TEXTURES[(number + turn) % len(TEXTURES)]
        prompts.append(prompt(Scene((things[number % len(things)],), *background, HELD_OUT_SEEDS[number])))
    return prompts, seeds
