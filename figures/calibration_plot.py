"""A calibration: what is measured at each request, and how single pictures spread."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import torch

from ..quality.calibration import Calibration, ResponseOfMetric
from .plots import drawn, labelled

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plot_calibration(calibration: Calibration) -> torch.Tensor:
    """A panel for each metric, ``[1, H, W, 3]`` in 0...1."""
    across = f"requested {calibration.moved} percentile"
    where = f"strength {calibration.strength:g}\n{calibration.base_name}"
    return drawn(*[labelled(_band(each), across, f"measured {each.metric}", where) for each in calibration.responses])


def _band(response: ResponseOfMetric) -> Callable[[Axes], None]:
    mean, spread = np.array(response.measured), np.array(response.spread)

    def draw(axes: Axes) -> None:
        axes.fill_between(response.requested, mean - spread, mean + spread, alpha=0.2, label="std of pictures")
        axes.plot(response.requested, mean, marker="o", label="mean, made monotone")

    return draw
