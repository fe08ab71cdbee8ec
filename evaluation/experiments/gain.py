"""How much better than the base model's are pictures at the highest requested percentile, by each metric?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...figures.plots import chart, heat
from .. import comparing, paper, statistics
from ..cells import Cell
from ..experiment import Experiment, Result, Table, picture_rows
from ..statistics import Estimate


class Gain(Experiment):
    """Adapters by measuring metrics: relative gain over the base model at the same prompts and seeds."""

    title = "Gain over the base model"
    question = "How much better are pictures at the highest percentile, by metrics of training and by others?"

    def why_not(self) -> str:
        return "" if self.session.score_adapters else "the plan has no score adapter"

    def wanted(self) -> comparing.Wanted:
        found = comparing.wanted(self.session, self.session.cells(), self.plan.metrics)
        for cells in self._best().values():
            found += comparing.wanted(self.session, cells, self.plan.metrics)
        if self._has_scenes():
            found += [(comparing.clean_scenes(self.session, self.session.cells(), 2), self._raw())]
        return found

    def result(self) -> Result:
        best, metrics, base = self._best(), self.plan.metrics, self.session.cells()
        gains = {name: [self._gain(cells, metric) for metric in metrics] for name, cells in best.items()}
        numbers, rows, table, said = {}, picture_rows(self.session, base, metrics, "base"), [], []
        for name, cells in best.items():
            trained_on = self.session.adapters[name].trained_on
            new = comparing.held_out(trained_on, metrics)
            means = {"all": self._mean(cells, metrics), "held out": self._mean(cells, new)}
            numbers |= {f"{name}/{metric}": gain.value for metric, gain in zip(metrics, gains[name], strict=True)}
            for which, mean in means.items():
                numbers |= {f"{name}/mean of {which}": mean.value, f"{name}/mean of {which}, error": mean.error / 1.96}
            shown = [gain.shown("+.1%") for gain in gains[name]]
            marked = [text + ("" if m in new else " *") for text, m in zip(shown, metrics, strict=True)]
            table.append([name, *marked, means["held out"].shown("+.1%"), means["all"].shown("+.1%")])
            said.append(
                f"{name} at {self.plan.best:g} %: {means['held out'].shown('+.1%')} in the mean of {len(new)} metrics "
                f"that it was not trained on"
            )
            rows += picture_rows(self.session, cells, metrics, f"{name} {self.plan.best:g} %")
        if self._has_scenes():
            clean, shown = self._clean_scenes()
            numbers |= {f"clean scenes/{metric}": value for metric, value in clean.items()}
            table.append(["clean scenes", *shown, "", ""])
        highest = max(numbers[f"{name}/mean of held out"] for name in best)
        reported = f"+{paper.GAIN_PERCENT} % in the mean of 21 metrics at the 99th percentile for TOPIQ+LAION-AES"
        measured = f"{highest:+.1%} in the mean of the metrics held out, for the best adapter"
        header = ["adapter", *metrics, "mean, held out", "mean, all"]
        return Result(
            f"{'; '.join(said)}.", [Table(header, table)], self._figure(gains),
            "Relative gain over the base model in per cent; purple is better. Metrics marked * were trained on.",
            paper.beside(reported, measured, highest > 0), numbers, rows,
            ["Intervals of 95 % by bootstrap over prompts. * an adapter was trained on this metric."],
        )  # fmt: skip

    def _has_scenes(self) -> bool:
        return self.session.prompts[0].scene is not None

    def _raw(self) -> list[str]:
        return [metric.removeprefix(comparing.CLEAN) for metric in self.plan.metrics]

    def _clean_scenes(self) -> tuple[dict[str, float], list[str]]:
        """Metrics of clean scenes of the same prompts, which are as good as it gets, and their gains."""
        base, means, shown = self.session.cells(), {}, []
        scenes = comparing.clean_scenes(self.session, base, 2)
        for metric in self.plan.metrics:
            clean = comparing.values(self.session, scenes, metric, of=base)
            means[metric] = float(np.nanmean(clean))
            of_base = comparing.values(self.session, base, metric)
            shown.append(f"{statistics.gain(clean, of_base, comparing.sign(metric) > 0):+.1%}")
        return means, shown

    def _best(self) -> dict[str, list[Cell]]:
        """Pictures at the highest percentile, by adapter."""
        return {each.name: self.session.level(each, self.plan.best) for each in self.session.score_adapters}

    def _pair(self, cells: list[Cell], metric: str) -> tuple[np.ndarray, np.ndarray]:
        base = comparing.values(self.session, self.session.cells(), metric)
        return comparing.values(self.session, cells, metric), base

    def _gain(self, cells: list[Cell], metric: str) -> Estimate:
        higher = comparing.sign(metric) > 0
        return statistics.bootstrap(lambda a, b: statistics.gain(a, b, higher), *self._pair(cells, metric))

    def _mean(self, cells: list[Cell], metrics: Sequence[str]) -> Estimate:
        return comparing.mean_gain(self.session, cells, self.session.cells(), metrics)

    def _figure(self, gains: dict[str, list[Estimate]]) -> bytes:
        metrics = self.plan.metrics
        values = np.array([[100 * gain.value for gain in row] for row in gains.values()])
        trained = [any(m in self.session.adapters[name].trained_on for name in gains) for m in metrics]
        columns = [f"{metric} *" if one else metric for metric, one in zip(metrics, trained, strict=True)]
        size = (max(5.0, 1.0 + 0.75 * len(metrics)), 1.7 + 0.45 * len(gains))
        return chart(lambda axes: heat(axes[0], values, [*gains], columns, "+.1f", around_zero=True), size=size)
