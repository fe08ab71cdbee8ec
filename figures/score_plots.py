"""Scores against what was spent: of a search by evaluations of the model, of a guided sampling by its steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from .plots import drawn

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ALARM = "tab:red"  # colour of a title that warns


@dataclass(frozen=True)
class Line:
    """One curve, and perhaps the points it was taken from.

    Attributes:
        label: in the legend.
        across, up: ``[N]`` of its corners.
        points: ``(across, up)`` of single pictures.
        kind: of matplotlib: ``-``, ``--``; a search's curve goes in ``steps``.
    """

    label: str
    across: Sequence[float]
    up: Sequence[float]
    points: tuple[Sequence[float], Sequence[float]] = ((), ())
    kind: str = "-"
    steps: bool = False


def plot_scores(
    lines: Sequence[Line], across: str, up: str, title: str, beside: Line | None = None, alarm: bool = False
) -> torch.Tensor:
    """Lines over one axis, ``[1, H, W, 3]`` in 0…1.

    Args:
        across, up: what the axes show.
        beside: a line with an axis of its own at the right, whose name is its label.
        alarm: the title is a warning.
    """

    def draw(axes: Axes) -> None:
        handles = [_draw(axes, line, f"C{number}") for number, line in enumerate(lines)]
        axes.set_xlabel(across)
        axes.set_ylabel(up)
        axes.set_title(title, wrap=True, fontsize=10, color=ALARM if alarm else "black")
        axes.grid(alpha=0.3)
        if beside is not None:
            right = axes.twinx()
            handles.append(_draw(right, beside, "tab:gray"))
            right.set_ylabel(beside.label)
        axes.legend(handles=handles, fontsize=8)

    return drawn(draw)


def _draw(axes: Axes, line: Line, colour: str):
    axes.scatter(*line.points, s=12, alpha=0.35, color=colour)
    style = "steps-post" if line.steps else "default"
    return axes.plot(line.across, line.up, line.kind, color=colour, label=line.label, drawstyle=style, marker=".")[0]
