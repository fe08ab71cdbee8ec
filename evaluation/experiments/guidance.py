"""Gradient guidance and the adapter at equal gain of the guided metric: what do held-out metrics do?"""

from __future__ import annotations

from typing import Annotated

import numpy as np
from pydantic import Field

from ...figures.plots import COLOURS, GRID, MARKERS, chart
from ...guidance.gradient import check_differentiable
from ...iqa_models import catalogue
from .. import comparing, statistics
from ..cells import Cell, Condition
from ..contenders import first_score_adapter
from ..experiment import Experiment, Result, Table, picture_rows
from ..plan import Settings


class Guidance(Experiment):
    """Guidance by the gradient of a metric at several scales, beside an adapter that was trained on the metric."""

    title = "Guidance by gradient beside the adapter"
    question = "At the same gain of the guided metric, what do metrics say that nothing was optimised for?"

    class Options(Settings):
        """Attributes:
        adapter: score adapter of the plan; empty for the first.
        metric: that guides; empty for the adapter's first metric.
        scales: of the guidance, rising.
        prompts: takes only the first so many; 0 takes all.
        """

        adapter: str = ""
        metric: str = ""
        scales: tuple[Annotated[float, Field(gt=0, le=50)], ...] = Field((0.25, 0.5, 1.0, 2.0), min_length=2)
        prompts: Annotated[int, Field(ge=0)] = 0

    def why_not(self) -> str:
        if not self.session.score_adapters:
            return "the plan has no score adapter"
        return "" if self._metric in self.plan.metrics else f"{self._metric}, which guides, is not in metrics"

    def check(self) -> None:
        check_differentiable([self.session.guides[self._metric]])

    def wanted(self) -> comparing.Wanted:
        groups = [self._base, *self._guided.values(), *self._adapted.values()]
        return [each for cells in groups for each in comparing.wanted(self.session, cells, self.plan.metrics)]

    def result(self) -> Result:
        guided = {scale: self._gains(cells) for scale, cells in self._guided.items()}
        adapted = {level: self._gains(cells) for level, cells in self._adapted.items()}
        target = adapted[self.plan.best][self._metric]
        scale = self._scale_of(target, {scale: gains[self._metric] for scale, gains in guided.items()})
        header = ["", *(f"{m}{'' if m in self._held_out else ' *'}" for m in self.plan.metrics), "mean, held out"]
        named = {f"guidance, scale {scale:g}": gains for scale, gains in guided.items()}
        named |= {f"{self._adapter.name}, {level:g} %": gains for level, gains in adapted.items()}
        numbers = {f"{name}/{metric}": gain for name, gains in named.items() for metric, gain in gains.items()}
        of_adapter = self._mean(adapted[self.plan.best])
        numbers |= {"gain of the guided metric": target, "adapter, held out": of_adapter, "scale at equal gain": scale}
        text = f"{self._adapter.name} at {self.plan.best:g} % gains {target:+.1%} by {self._metric}, and "
        text += f"{of_adapter:+.1%} in the mean of held-out metrics"
        if np.isfinite(scale):
            equal = self._between(scale, guided)
            named |= {f"guidance at equal gain, scale {scale:.2f}": equal}
            numbers["guidance, held out"] = self._mean(equal)
            text += f"; guidance reaches the same gain at scale {scale:.2f}, where they are {self._mean(equal):+.1%}"
        else:
            most = max(gains[self._metric] for gains in guided.values())
            text += f"; guidance does not reach that gain: at most {most:+.1%}, at the scales of the plan"
        table = [
            [name, *(f"{gains[m]:+.1%}" for m in self.plan.metrics), f"{self._mean(gains):+.1%}"]
            for name, gains in named.items()
        ]
        rows = picture_rows(self.session, self._base, self.plan.metrics, "base")
        for scale, cells in self._guided.items():
            rows += picture_rows(self.session, cells, self.plan.metrics, f"guidance, scale {scale:g}", scale=scale)
        for level, cells in self._adapted.items():
            rows += picture_rows(self.session, cells, self.plan.metrics, f"{self._adapter.name}, {level:g} %")
        return Result(
            f"{text}.", [Table(header, table)], self._figure(guided, adapted),
            f"Gain of the guided metric ({self._metric}) and of held-out metrics, per cent over the base model.",
            "", numbers, rows, ["* optimised: the guidance's metric, or one the adapter was trained on. At equal gain: "
                                "linear between the scales on both sides of it."],
        )  # fmt: skip

    @property
    def _adapter(self):
        return first_score_adapter(self.session, self.options.adapter)

    @property
    def _metric(self) -> str:
        return self.options.metric or self._adapter.metadata.metric_names[0]

    @property
    def _held_out(self) -> list[str]:
        return comparing.held_out([*self._adapter.trained_on, self._metric], self.plan.metrics)

    @property
    def _base(self) -> list[Cell]:
        return self.session.cells(prompts=self.options.prompts)

    @property
    def _guided(self) -> dict[float, list[Cell]]:
        how = {scale: Condition(guide=catalogue.find(self._metric).name, scale=scale) for scale in self.options.scales}
        return {s: self.session.cells(condition, prompts=self.options.prompts) for s, condition in how.items()}

    @property
    def _adapted(self) -> dict[float, list[Cell]]:
        chosen = [level for level in self.plan.levels if level >= 50]
        return {lv: self.session.level(self._adapter, lv, prompts=self.options.prompts) for lv in chosen}

    def _gains(self, cells: list[Cell]) -> dict[str, float]:
        """By metric."""
        found = {}
        for metric in self.plan.metrics:
            measured, base = (comparing.values(self.session, each, metric) for each in (cells, self._base))
            found[metric] = statistics.gain(measured, base, comparing.sign(metric) > 0)
        return found

    def _mean(self, gains: dict[str, float]) -> float:
        return float(np.nanmean([gains[metric] for metric in self._held_out])) if self._held_out else np.nan

    def _scale_of(self, target: float, gains: dict[float, float]) -> float:
        """Where the guided metric first gains as much, linear between scales, from no gain at scale 0; NaN if never."""
        scales, reached = [0.0, *gains], [0.0, *gains.values()]
        for i in range(1, len(scales)):
            if reached[i - 1] <= target <= reached[i]:
                share = (target - reached[i - 1]) / max(reached[i] - reached[i - 1], 1e-12)
                return scales[i - 1] + share * (scales[i] - scales[i - 1])
        return np.nan

    def _between(self, scale: float, guided: dict[float, dict[str, float]]) -> dict[str, float]:
        """Gains of all metrics at a scale between those that were sampled."""
        scales = [0.0, *guided]
        return {
            metric: float(np.interp(scale, scales, [0.0, *(gains[metric] for gains in guided.values())]))
            for metric in self.plan.metrics
        }

    def _figure(self, guided: dict[float, dict[str, float]], adapted: dict[float, dict[str, float]]) -> bytes:
        def draw(axes) -> None:
            zero = dict.fromkeys(self.plan.metrics, 0.0)
            series = {"guidance": [zero, *guided.values()], self._adapter.name: list(adapted.values())}
            for number, (name, points) in enumerate(series.items()):
                across = [100 * gains[self._metric] for gains in points]
                up = [100 * self._mean(gains) for gains in points]
                axes[0].plot(across, up, label=name, color=COLOURS[number], marker=MARKERS[number])
            for scale, gains in guided.items():
                axes[0].annotate(f"{scale:g}", (100 * gains[self._metric], 100 * self._mean(gains)), fontsize=8)
            for level, gains in adapted.items():
                axes[0].annotate(f"{level:g} %", (100 * gains[self._metric], 100 * self._mean(gains)), fontsize=8)
            axes[0].set_xlabel(f"gain by {self._metric}, %")
            axes[0].set_ylabel("mean gain, held-out metrics, %")
            axes[0].axhline(0, color="black", linewidth=0.8)
            axes[0].grid(**GRID)
            axes[0].legend(fontsize=9)

        return chart(draw, size=(5.2, 3.6))
