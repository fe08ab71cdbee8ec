"""The loss of a training run by its steps."""

from __future__ import annotations

import numpy as np
import torch

from ..optional import needed

SPAN = 0.05  # of the smoothed line, as a share of the steps


def plot_losses(steps: list[int], losses: list[float], title: str) -> torch.Tensor:
    """Single steps as dots and their moving average as a line, ``[1, H, W, 3]`` in 0…1."""
    with needed("matplotlib"):
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    figure = Figure(figsize=(6.4, 4.4), dpi=100, layout="constrained")
    canvas, axes = FigureCanvasAgg(figure), figure.add_subplot()
    axes.scatter(steps, losses, s=6, alpha=0.35, color="tab:gray", label="steps")
    axes.plot(steps, smoothed(losses), color="tab:blue", label="moving average")
    axes.set_xlabel("step")
    axes.set_ylabel("loss")
    axes.set_title(title)
    axes.grid(alpha=0.3)
    axes.legend()
    canvas.draw()
    return torch.from_numpy(np.asarray(canvas.buffer_rgba())[..., :3].astype(np.float32) / 255)[None]


def smoothed(losses: list[float]) -> np.ndarray:
    """Mean of the last steps at each step; fewer at the beginning."""
    window = max(1, round(SPAN * len(losses)))
    sums = np.concatenate([[0.0], np.cumsum(losses)])
    ends = np.arange(1, len(losses) + 1)
    begins = np.maximum(0, ends - window)
    return (sums[ends] - sums[begins]) / (ends - begins)
