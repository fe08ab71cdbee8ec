"""How measured quality follows the requested one."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import torch

from ..optional import needed


@dataclass(frozen=True)
class Response:
    """Requested targets and what was measured, picture by picture.

    Attributes:
        requested, measured: ``[N]``.
        metric: name of what was measured.

    Raises:
        ValueError: the two differ in length.
    """

    requested: np.ndarray
    measured: np.ndarray
    metric: str

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
        return np.array([np.nanmean(self.measured[self.requested == level]) for level in self.levels])

    def correlations(self) -> tuple[float, float]:
        """Spearman's ρ of request and measurement: of the level means, and of single pictures; NaN if constant."""
        return _rho(self.levels, self.level_means()), _rho(self.requested, self.measured)

    def describe(self) -> str:
        of_means, of_pictures = self.correlations()
        rows = [f"{level:g} %: {mean:.4g}" for level, mean in zip(self.levels, self.level_means(), strict=True)]
        return "\n".join(
            [
                f"{self.metric} by requested percentile",
                *rows,
                f"Spearman's rho: {of_means:.2f} of level means, {of_pictures:.2f} of single pictures",
            ]
        )

    def plot(self) -> torch.Tensor:
        """Single pictures as dots, level means with their standard deviation as a line, ``[1, H, W, 3]`` in 0…1."""
        with needed("matplotlib"):
            from matplotlib.backends.backend_agg import FigureCanvasAgg
            from matplotlib.figure import Figure
        figure = Figure(figsize=(6.4, 4.4), dpi=100, layout="constrained")
        canvas, axes = FigureCanvasAgg(figure), figure.add_subplot()
        spread = [np.nanstd(self.measured[self.requested == level]) for level in self.levels]
        axes.scatter(self.requested, self.measured, s=14, alpha=0.4, color="tab:gray", label="pictures")
        axes.errorbar(
            self.levels, self.level_means(), yerr=spread, marker="o", capsize=4, color="tab:blue", label="mean and std"
        )
        axes.set_xlabel("requested percentile")
        axes.set_ylabel(self.metric)
        axes.set_title(f"Spearman's ρ of level means {self.correlations()[0]:.2f}")
        axes.grid(alpha=0.3)
        axes.legend()
        canvas.draw()
        return torch.from_numpy(np.asarray(canvas.buffer_rgba())[..., :3].astype(np.float32) / 255)[None]


def _rho(requested: np.ndarray, measured: np.ndarray) -> float:
    if len(requested) < 2:
        return float("nan")
    with needed("scipy"):
        from scipy.stats import ConstantInputWarning, spearmanr
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConstantInputWarning)
        return float(spearmanr(requested, measured, nan_policy="omit").statistic)
