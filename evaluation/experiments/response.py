"""Does measured quality follow the requested percentile?"""

from __future__ import annotations

import itertools

import numpy as np

from ...figures.curve import RHO
from ...figures.plots import COLOURS, boxes, chart
from ...quality.rank_correlation import rank_correlation
from .. import comparing, paper, statistics
from ..adapters import AdapterUnderTest
from ..cells import Cell, Condition, Levels
from ..experiment import Experiment, Result, Table, picture_rows


class Response(Experiment):
    """Every metric at every requested percentile, for every score adapter."""

    title = "Response: requested and measured quality"
    question = "Does every metric rise with the requested percentile?"

    def why_not(self) -> str:
        return "" if self.session.score_adapters else "the plan has no score adapter"

    def wanted(self) -> comparing.Wanted:
        metrics = self.plan.metrics
        found = comparing.wanted(self.session, self.session.cells(), metrics)
        for adapter in self.session.score_adapters:
            groups = [*self._levels(adapter).values(), *self._aesthetic(adapter).values()]
            found += [each for cells in groups for each in comparing.wanted(self.session, cells, metrics)]
        return found

    def result(self) -> Result:
        tables, numbers, rows, said, rising_all = [], {}, [], [], []
        for adapter in self.session.score_adapters:
            table, found, sentence = self._of(adapter)
            tables.append(table)
            numbers |= {f"{adapter.name}/{name}": value for name, value in found.items()}
            said.append(sentence)
            rising_all += [found[f"{metric}/rising"] for metric in self._headline(adapter)]
            for name, cells in {**self._levels(adapter), **self._aesthetic(adapter)}.items():
                rows += picture_rows(self.session, cells, self.plan.metrics, f"{adapter.name} {name}", request=name)
        rows += picture_rows(self.session, self.session.cells(), self.plan.metrics, "base", request="base")
        measured = "the trained metrics " + ("rise at every step" if all(rising_all) else "do not rise at every step")
        reported = "that measured quality rises at every step of the percentiles 1, 25, 50, 75, 99"
        return Result(
            " ".join(said), tables, self._figure(),
            "Measured values by requested percentile: quartiles, whiskers at 5 and 95 %, mean as a diamond; the dashed "
            "line is the base model's mean.",
            paper.beside(reported, measured, all(rising_all)), numbers, rows,
        )  # fmt: skip

    def _levels(self, adapter: AdapterUnderTest) -> dict[str, list[Cell]]:
        return {f"{level:g} %": self.session.level(adapter, level) for level in self.plan.levels}

    def _aesthetic(self, adapter: AdapterUnderTest) -> dict[str, list[Cell]]:
        if not adapter.has_aesthetics:
            return {}
        condition = Condition(adapter=adapter.name, strength=adapter.strength)
        levels = self.plan.aesthetic_levels
        return {f"aesthetics {level:g} %": self.session.cells(condition, Levels(50, level)) for level in levels}

    def _headline(self, adapter: AdapterUnderTest) -> list[str]:
        """Metrics that it was trained on and that were asked to vary."""
        varied = [m.name for m in adapter.metadata.metrics if self.plan.aesthetics == "same" or not m.aesthetic]
        return [name for name in self.plan.metrics if name in varied]

    def _of(self, adapter: AdapterUnderTest) -> tuple[Table, dict[str, float], str]:
        groups, base = self._levels(adapter), self.session.cells()
        aesthetic = self._aesthetic(adapter)
        header = ["metric", "base", *groups, *aesthetic, f"{RHO}, level means", f"{RHO}, single pictures"]
        rows, numbers = [], {}
        for metric in self.plan.metrics:
            of_base, *samples = (comparing.values(self.session, c, metric) for c in (base, *groups.values()))
            others = [comparing.values(self.session, cells, metric) for cells in aesthetic.values()]
            means = [statistics.mean(sample) for sample in samples]
            levels, sign = np.array(self.plan.levels), comparing.sign(metric)
            requested = np.broadcast_to(levels[:, None, None], (len(levels), *samples[0].shape)).swapaxes(0, 1)
            single = statistics.bootstrap(rank_correlation, requested, np.stack(samples, 1))
            of_means = rank_correlation(levels, np.array([mean.value for mean in means]))
            steps = itertools.pairwise(mean.value * sign for mean in means)
            numbers |= {f"{metric}/base": float(np.nanmean(of_base)), f"{metric}/rho": single.value}
            numbers |= {f"{metric}/rho low": single.low, f"{metric}/rho high": single.high}
            numbers |= {f"{metric}/rho of means": of_means, f"{metric}/rising": all(a < b for a, b in steps)}
            numbers |= {f"{metric}/{name}": mean.value for name, mean in zip(groups, means, strict=True)}
            numbers |= {f"{metric}/{name}": float(np.nanmean(o)) for name, o in zip(aesthetic, others, strict=True)}
            shown = [*(statistics.mean(sample).shown() for sample in (of_base, *samples, *others))]
            trained = " (trained on)" if metric in adapter.trained_on else ""
            rows.append([metric + trained, *shown, f"{of_means:.2f}", single.shown(".2f")])
        return (
            Table(header, rows, f"{adapter.name}, strength {adapter.strength:g}"),
            numbers,
            self._sentence(adapter, numbers),
        )

    def _sentence(self, adapter: AdapterUnderTest, numbers: dict[str, float]) -> str:
        rising = [metric for metric in self.plan.metrics if numbers[f"{metric}/rising"]]
        text = f"{adapter.name}: {len(rising)} of {len(self.plan.metrics)} metrics get better at every requested step"
        for metric in self._headline(adapter):
            text += (
                f"; {metric}, which it was trained on, has {RHO} {numbers[f'{metric}/rho of means']:.2f} on level "
                f"means and {numbers[f'{metric}/rho']:.2f} on single pictures ({numbers[f'{metric}/rho low']:.2f} to "
                f"{numbers[f'{metric}/rho high']:.2f})"
            )
        return f"{text}."

    def _figure(self) -> bytes:
        adapters, metrics = self.session.score_adapters, self.plan.metrics
        columns = min(4, len(metrics))
        each = -(-len(metrics) // columns)

        def draw(axes) -> None:
            for number, adapter in enumerate(adapters):
                for place, metric in enumerate(metrics):
                    here = axes[number * each * columns + place]
                    groups = self._levels(adapter)
                    samples = [comparing.values(self.session, cells, metric) for cells in groups.values()]
                    labels = [f"{level:g}" for level in self.plan.levels]
                    title = metric if len(adapters) == 1 else f"{metric}: {adapter.name}"
                    boxes(here, labels, samples, title, COLOURS[number % len(COLOURS)])
                    base = np.nanmean(comparing.values(self.session, self.session.cells(), metric))
                    here.axhline(base, linestyle="--", color="black", linewidth=1)
                    here.set_xlabel("requested percentile", fontsize=9)

        return chart(draw, columns, each * len(adapters), (2.9, 2.6))
