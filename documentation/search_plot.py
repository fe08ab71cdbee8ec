"""What search buys on the embedded model, from the numbers of ``python -m benchmarks.search --write``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from ..figures.grid import stacked
from ..figures.score_plots import Line, plot_scores
from .picture import Models, Picture

NUMBERS = Path(__file__).with_name("search.json")
ACROSS = "evaluations of the model"


def draw(_models: Models, settings: Mapping) -> Tensor:
    """The searched metric above, the one set aside below, by evaluations of the model."""

    def lines(which: int) -> list[Line]:
        return [
            Line(name, [point[0] for point in points], [point[which] for point in points])
            for name, points in settings["curves"].items()
        ]

    title = f"best picture so far, mean of {settings['pairs']} prompts and seeds"
    aside = f"{settings['aside']} of it, which was set aside ({settings['aside is better']} is better)"
    return stacked([
        plot_scores(lines(1), ACROSS, settings["metric"], title),
        plot_scores(lines(3), ACROSS, settings["aside"], aside),
    ])  # fmt: skip


PICTURE = Picture("search.png", draw, json.loads(NUMBERS.read_text(encoding="utf-8")), ())
