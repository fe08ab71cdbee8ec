"""Curves: how measured quality follows the requested one, and the loss of a training by its steps."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from ..quality.rank_correlation import rank_correlation
from ..quality.sweep import STRENGTH
from .plots import drawn, labelled

if TYPE_CHECKING:
    from matplotlib.axes import Axes

RHO = "\u03c1"  # Spearman's
VERDICTS = (  # least rank correlation of request and quality, and what is said of it
    (0.9, "follows the request"),
    (0.5, "mostly follows the request"),
    (-0.5, "does not follow the request"),
    (-1.0, "goes against the request"),
)
FOLLOWS = 0.5  # least rank correlation at which a metric that was not asked for follows or falls
SPAN = 0.05  # of the smoothed loss, as a share of the steps


@dataclass(frozen=True)
class Response:
    """Requested targets and what was measured, picture by picture.

    Attributes:
        requested, measured: ``[N]``.
        metric: name of what was measured.
        higher_is_better: its direction.
        base: ``[M]``, measured of pictures without a request, the base model's; None where there are none.
        moved: what was requested, for labels; ``strength`` is no percentile.

    Raises:
        ValueError: the two differ in length.
    """

    requested: np.ndarray
    measured: np.ndarray
    metric: str
    higher_is_better: bool = True
    base: np.ndarray | None = None
    moved: str = ""

    def __post_init__(self):
        if len(self.requested) != len(self.measured):
            raise ValueError(
                f"There are {len(self.requested)} requested targets, but {len(self.measured)} pictures were scored. "
                "Connect the sweep that made the pictures."
            )

    @property
    def levels(self) -> np.ndarray:
        return np.unique(self.requested)

    def of_level(self, level: float) -> np.ndarray:
        """Scores of the pictures of a level that have one."""
        of_level = self.measured[self.requested == level]
        return of_level[np.isfinite(of_level)]

    def level_means(self) -> np.ndarray:
        """Of the pictures that have a score; NaN where none has."""
        return np.array([one.mean() if len(one) else np.nan for one in map(self.of_level, self.levels)])

    def quartiles(self) -> np.ndarray:
        """First quartile, median and third quartile of every level, ``[3, levels]``; NaN where it has no scores."""
        of_levels = map(self.of_level, self.levels)
        return np.array([np.percentile(one, (25, 50, 75)) if len(one) else [np.nan] * 3 for one in of_levels]).T

    @property
    def base_median(self) -> float:
        """Of the base model's pictures; NaN where none has a score."""
        there = np.array([]) if self.base is None else self.base[np.isfinite(self.base)]
        return float(np.median(there)) if len(there) else float("nan")

    def follows(self) -> float:
        """Rank correlation of request and quality: 1 where every higher request is better; NaN where there is none."""
        rho = self.correlations()[0]
        return rho if self.higher_is_better else -rho

    def correlations(self) -> tuple[float, float]:
        """Spearman's rho of request and measurement: of the level means, and of single pictures; NaN if constant."""
        return rank_correlation(self.levels, self.level_means()), rank_correlation(self.requested, self.measured)

    def verdict(self) -> str:
        """Whether better was drawn where better was asked for, in a sentence."""
        levels, means = self.levels, self.level_means()
        if len(levels) < 2:
            return "one level only"
        scored = means[np.isfinite(means)]
        if len(scored) < 2:
            return "scores at one level only" if len(scored) else "no scores"
        if np.ptp(scored) == 0:
            return "the same score at every level"
        rho = self.correlations()[0]
        said = next(text for least, text in VERDICTS if self.follows() >= least)
        return f"{said}: {RHO} {rho:.2f}" + ("" if self.higher_is_better else ", where lower is better")

    def describe(self) -> str:
        of_pictures = self.correlations()[1]
        levels = list(map(self._named, self.levels))
        means = [f"{level}: {mean:.4g}" for level, mean in zip(levels, self.level_means(), strict=True)]
        quartiles = ", ".join(
            f"{level}: {median:.3g} ({low:.3g} to {high:.3g})"
            for level, (low, median, high) in zip(levels, self.quartiles().T, strict=True)
        )
        base = f"\nbase model: median {self.base_median:.3g}" if math.isfinite(self.base_median) else ""
        single = f"; of single pictures {RHO} {of_pictures:.2f}" if math.isfinite(of_pictures) else ""
        what = "strength" if self.moved == STRENGTH else "percentile"
        return "\n".join(
            [
                f"{self.metric} by requested {what}",
                *means,
                f"median (quartiles): {quartiles}{base}",
                f"{self.verdict()}{single}",
            ]
        )

    def _named(self, level: float) -> str:
        return f"{level:g}" if self.moved == STRENGTH else f"{level:g} %"

    def plot(self) -> torch.Tensor:
        """``[1, H, W, 3]`` in 0…1, see :func:`plot_responses`."""
        return plot_responses([self])


def plot_responses(responses: Sequence[Response]) -> torch.Tensor:
    """A panel for each metric, two in a row: single pictures as dots, the median of every level as a line between its
    quartiles, and the base model's median as a dashed line, ``[1, H, W, 3]`` in 0…1.
    """
    return drawn(*[labelled(_dots(each), _across(each), _up(each), each.verdict()) for each in responses])


def in_words(responses: Sequence[Response], asked: Collection[str]) -> str:
    """What was measured of every metric, and whether the metrics that nobody asked for follow the request or fall.

    Args:
        asked: names of the metrics that were asked for.
    """
    lines = [each.describe() for each in responses]
    others = [each for each in responses if each.metric not in asked]
    if others:
        lines.append("not asked for: " + "; ".join(f"{each.metric} {_unasked(each)}" for each in others))
    return "\n\n".join(lines)


def _unasked(response: Response) -> str:
    follows = response.follows()
    if not math.isfinite(follows):
        return f"cannot be told ({response.verdict()})"
    if abs(follows) < FOLLOWS:
        return f"neither follows nor falls ({RHO} with quality {follows:.2f})"
    said = "follows: it gets better, too" if follows > 0 else "falls: it gets worse as more is asked for"
    return f"{said} ({RHO} with quality {follows:.2f})"


def _dots(response: Response) -> Callable[[Axes], None]:
    levels, (low, median, high) = response.levels, response.quartiles()

    def draw(axes: Axes) -> None:
        axes.scatter(response.requested, response.measured, s=14, alpha=0.4, color="tab:gray", label="pictures")
        axes.fill_between(levels, low, high, alpha=0.25, color="tab:blue", label="quartiles")
        axes.plot(levels, median, marker="o", color="tab:blue", label="median")
        if math.isfinite(response.base_median):
            axes.axhline(response.base_median, linestyle="--", color="tab:orange", label="base model")

    return draw


def _across(response: Response) -> str:
    if response.moved == STRENGTH:
        return "strength"
    return f"requested {response.moved} percentile".replace("  ", " ")


def _up(response: Response) -> str:
    return response.metric if response.higher_is_better else f"{response.metric} (lower is better)"


def plot_losses(steps: Sequence[int], losses: Sequence[float], title: str) -> torch.Tensor:
    """Single steps as dots and their moving average as a line, ``[1, H, W, 3]`` in 0…1."""

    def draw(axes: Axes) -> None:
        axes.scatter(steps, losses, s=6, alpha=0.35, color="tab:gray", label="steps")
        axes.plot(steps, smoothed(losses), color="tab:blue", label="moving average")

    return drawn(labelled(draw, "step", "loss", title))


def smoothed(losses: Sequence[float]) -> np.ndarray:
    """Mean of the last steps at each step, without those whose loss is no number; fewer at the beginning."""
    window, there = max(1, round(SPAN * len(losses))), np.isfinite(losses)
    sums, counts = (np.concatenate([[0.0], np.cumsum(values)]) for values in (np.where(there, losses, 0.0), there))
    ends = np.arange(1, len(losses) + 1)
    begins = np.maximum(0, ends - window)
    with np.errstate(invalid="ignore"):  # where there is none
        return (sums[ends] - sums[begins]) / (counts[ends] - counts[begins])
