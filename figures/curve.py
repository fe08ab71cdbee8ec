"""Curves: how measured quality follows the requested one, and the loss of a training by its steps."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from ..quality.rank_correlation import rank_correlation
from .plots import drawn

if TYPE_CHECKING:
    from matplotlib.axes import Axes

RHO = "\u03c1"  # Spearman's
VERDICTS = (  # least rank correlation of request and quality, and what is said of it
    (0.9, "follows the request"),
    (0.5, "mostly follows the request"),
    (-0.5, "does not follow the request"),
    (-1.0, "goes against the request"),
)
SPAN = 0.05  # of the smoothed loss, as a share of the steps


@dataclass(frozen=True)
class Response:
    """Requested targets and what was measured, picture by picture.

    Attributes:
        requested, measured: ``[N]``.
        metric: name of what was measured.
        higher_is_better: its direction.

    Raises:
        ValueError: the two differ in length.
    """

    requested: np.ndarray
    measured: np.ndarray
    metric: str
    higher_is_better: bool = True

    def __post_init__(self):
        if len(self.requested) != len(self.measured):
            raise ValueError(
                f"There are {len(self.requested)} requested targets, but {len(self.measured)} pictures were scored. "
                "Connect the sweep that made the pictures."
            )

    @property
    def levels(self) -> np.ndarray:
        return np.unique(self.requested)

    def level_means(self) -> np.ndarray:
        """Of the pictures that have a score; NaN where none has."""
        of_levels = (self.measured[self.requested == level] for level in self.levels)
        return np.array([one[np.isfinite(one)].mean() if np.isfinite(one).any() else np.nan for one in of_levels])

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
        follows = rho if self.higher_is_better else -rho
        said = next(text for least, text in VERDICTS if follows >= least)
        return f"{said}: {RHO} {rho:.2f}" + ("" if self.higher_is_better else ", where lower is better")

    def describe(self) -> str:
        of_pictures = self.correlations()[1]
        rows = [f"{level:g} %: {mean:.4g}" for level, mean in zip(self.levels, self.level_means(), strict=True)]
        single = f"; of single pictures {RHO} {of_pictures:.2f}" if math.isfinite(of_pictures) else ""
        return "\n".join([f"{self.metric} by requested percentile", *rows, f"{self.verdict()}{single}"])

    def plot(self) -> torch.Tensor:
        """Single pictures as dots, level means with their standard deviation as a line, ``[1, H, W, 3]`` in 0…1."""
        levels, means = self.levels, self.level_means()
        of_levels = (self.measured[self.requested == level] for level in levels)
        spread = [one[np.isfinite(one)].std() if np.isfinite(one).any() else 0.0 for one in of_levels]

        def draw(axes: Axes) -> None:
            axes.scatter(self.requested, self.measured, s=14, alpha=0.4, color="tab:gray", label="pictures")
            axes.errorbar(levels, means, yerr=spread, marker="o", capsize=4, color="tab:blue", label="mean and std")

        up = self.metric if self.higher_is_better else f"{self.metric} (lower is better)"
        return _plotted(draw, "requested percentile", up, self.verdict())


def plot_losses(steps: Sequence[int], losses: Sequence[float], title: str) -> torch.Tensor:
    """Single steps as dots and their moving average as a line, ``[1, H, W, 3]`` in 0…1."""

    def draw(axes: Axes) -> None:
        axes.scatter(steps, losses, s=6, alpha=0.35, color="tab:gray", label="steps")
        axes.plot(steps, smoothed(losses), color="tab:blue", label="moving average")

    return _plotted(draw, "step", "loss", title)


def smoothed(losses: Sequence[float]) -> np.ndarray:
    """Mean of the last steps at each step, without those whose loss is no number; fewer at the beginning."""
    window, there = max(1, round(SPAN * len(losses))), np.isfinite(losses)
    sums, counts = (np.concatenate([[0.0], np.cumsum(values)]) for values in (np.where(there, losses, 0.0), there))
    ends = np.arange(1, len(losses) + 1)
    begins = np.maximum(0, ends - window)
    with np.errstate(invalid="ignore"):  # where there is none
        return (sums[ends] - sums[begins]) / (counts[ends] - counts[begins])


def _plotted(draw: Callable[[Axes], None], across: str, up: str, title: str) -> torch.Tensor:
    """A plot with a grid and a legend, ``[1, H, W, 3]`` in 0…1.

    Args:
        draw: puts the data on the axes.
        across, up: what the axes show.
    """

    def with_axes(axes: Axes) -> None:
        draw(axes)
        axes.set_xlabel(across)
        axes.set_ylabel(up)
        axes.set_title(title)
        axes.grid(alpha=0.3)
        axes.legend()

    return drawn(with_axes)
