"""Plots as pictures, and charts for reports: box plots, heat maps and lines in colours that colour-blind people can
tell apart."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from ..optional import needed

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Okabe and Ito, "Color universal design" (2008): told apart with every common kind of colour blindness
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#000000")
MARKERS = "osD^vPX*"
GRID = {"alpha": 0.3, "linewidth": 0.6}
DPI = 110


def chart(
    draw: Callable[[Sequence[Axes]], None], columns: int = 1, rows: int = 1, size: tuple[float, float] = (3.2, 3)
):
    """A PNG of one or several charts.

    Args:
        draw: puts the data on the axes, which come row by row.
        columns, rows: how many charts.
        size: width and height of one of them in inches.
    """
    with needed("matplotlib"):
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

    figure = Figure(figsize=(size[0] * columns, size[1] * rows), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, columns, squeeze=False).flatten()
    for each in axes:
        each.tick_params(labelsize=9)
    draw(axes)
    for each in axes:
        if not each.has_data():
            each.set_axis_off()
    file = io.BytesIO()
    figure.savefig(file, format="png", metadata={"Software": None})  # the same bytes for the same data
    return file.getvalue()


def drawn(*panels: Callable[[Axes], None]) -> torch.Tensor:
    """A figure with axes for each of the panels, which draw on them, two in a row, ``[1, H, W, 3]`` in 0…1."""
    with needed("matplotlib"):
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

    columns = min(2, len(panels))
    rows = math.ceil(len(panels) / columns)
    figure = Figure(figsize=(6.4 * columns, 4.4 * rows), dpi=100, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    for number, panel in enumerate(panels, 1):
        panel(figure.add_subplot(rows, columns, number))
    canvas.draw()
    return torch.from_numpy(np.asarray(canvas.buffer_rgba())[..., :3].astype(np.float32) / 255)[None]


def labelled(draw: Callable[[Axes], None], across: str, up: str, title: str) -> Callable[[Axes], None]:
    """A panel with a grid and a legend.

    Args:
        draw: puts the data on the axes.
        across, up: what the axes show.
    """

    def panel(axes: Axes) -> None:
        draw(axes)
        axes.set_xlabel(across)
        axes.set_ylabel(up)
        axes.set_title(title)
        axes.grid(alpha=0.3)
        axes.legend()

    return panel


def boxes(
    axes: Axes, labels: Sequence[str], samples: Sequence[np.ndarray], title: str, colour: str = COLOURS[0]
) -> None:
    """A box for every sample: quartiles, whiskers at 5 and 95 %, outliers as dots, the mean as a diamond."""
    there = [sample[np.isfinite(sample)] for sample in map(np.ravel, samples)]
    drawn = axes.boxplot(
        there, whis=(5, 95), showmeans=True, patch_artist=True, widths=0.6,
        flierprops={"marker": ".", "markersize": 3, "alpha": 0.5}, medianprops={"color": "black"},
        meanprops={"marker": "D", "markerfacecolor": "white", "markeredgecolor": "black", "markersize": 4},
    )  # fmt: skip
    for box in drawn["boxes"]:
        box.set(facecolor=colour, alpha=0.75)
    axes.set_xticks(range(1, len(labels) + 1), labels)
    axes.set_title(title, fontsize=10)
    axes.grid(axis="y", **GRID)


def heat(
    axes: Axes, values: np.ndarray, rows: Sequence[str], columns: Sequence[str], form: str, around_zero: bool = False
) -> None:
    """A heat map with its numbers; purple is more and orange less than zero, or dark blue more than light.

    Args:
        values: ``[rows, columns]``; NaN stays empty.
        form: of the numbers, as in ``format``.
    """
    largest = float(np.nanmax(np.abs(values), initial=1e-9))
    limits = {"vmin": -largest, "vmax": largest, "cmap": "PuOr"} if around_zero else {"cmap": "Blues"}
    image = axes.imshow(values, aspect="auto", **limits)
    axes.set_xticks(range(len(columns)), columns, rotation=35, ha="right")
    axes.set_yticks(range(len(rows)), rows)
    for (row, column), value in np.ndenumerate(values):
        if np.isfinite(value):
            red, green, blue, _ = image.cmap(image.norm(value))
            dark = 0.299 * red + 0.587 * green + 0.114 * blue < 0.5
            text = format(value, form)
            axes.text(column, row, text, ha="center", va="center", fontsize=8, color="white" if dark else "black")


def lines(
    axes: Axes, across: Sequence[float], series: dict[str, tuple[np.ndarray, np.ndarray]], title: str, label: str
) -> None:
    """Lines with error bars, told apart by colour and marker.

    Args:
        across: where the points lie.
        series: by name, values and the heights of their error bars.
        title, label: of the chart and of the axis below it.
    """
    for number, (name, (values, errors)) in enumerate(series.items()):
        style = {"color": COLOURS[number % len(COLOURS)], "marker": MARKERS[number % len(MARKERS)]}
        axes.errorbar(across, values, yerr=np.nan_to_num(errors), capsize=3, markersize=5, label=name, **style)
    axes.set_title(title, fontsize=10)
    axes.set_xlabel(label)
    axes.grid(**GRID)
    if len(series) > 1:
        axes.legend(fontsize=8)
