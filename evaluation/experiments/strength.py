"""Strength, negative side, number of tokens, and the part of the sampling: gain and artefacts as they grow."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from pydantic import Field

from ...figures.plots import chart, lines
from .. import comparing, content, statistics
from ..cells import Cell
from ..contenders import first_score_adapter
from ..experiment import Experiment, Result, Table, picture_rows
from ..plan import Settings, Share
from ..statistics import Estimate

ARTEFACTS = "clipped"  # share of pixels that are burnt white or black


class Strength(Experiment):
    """One adapter at its highest and lowest level, one setting changed at a time."""

    title = "Strength, negative side, tokens, range"
    question = "How much is gained, and what is lost, as the adapter acts more strongly?"

    class Options(Settings):
        """Attributes:
        adapter: score adapter of the plan; empty for the first.
        strengths: lambdas, rising.
        negated: factors of the request on the unconditional side.
        percentiles: qualities of the unconditional side.
        ranges: parts of the sampling, each start and end in 0…1.
        prompts: takes only the first so many; 0 takes all.
        """

        adapter: str = ""
        strengths: tuple[Annotated[float, Field(ge=-10, le=10)], ...] = Field((0.5, 1.0, 1.5, 2.0, 3.0), min_length=2)
        negated: tuple[Annotated[float, Field(ge=0, le=2)], ...] = (0.5,)
        percentiles: tuple[Annotated[float, Field(ge=0, le=100)], ...] = (1.0,)
        ranges: tuple[tuple[Share, Share], ...] = ((0.0, 0.5), (0.5, 1.0))
        prompts: Annotated[int, Field(ge=0)] = 0

    def why_not(self) -> str:
        return "" if self.session.score_adapters else "the plan has no score adapter"

    def wanted(self) -> comparing.Wanted:
        groups = [self._base, *self._variants.values(), *self._strengths.values()]
        found = [each for cells in groups for each in comparing.wanted(self.session, cells, self.plan.metrics)]
        return found + [(cells, [ARTEFACTS, *content.measures_of(self._content)]) for cells in groups]

    def result(self) -> Result:
        every = {**{f"strength {s:g}": cells for s, cells in self._strengths.items()}, **self._variants}
        found = {name: self._of(cells) for name, cells in every.items()}
        keys = ["trained on", "held out", "distance", "diversity", "agreement", ARTEFACTS]
        forms = dict.fromkeys(keys[:2], "+.1%")
        table = [[name, *(of[key].shown(forms.get(key, ".3f")) for key in keys)] for name, of in found.items()]
        numbers = {f"{name}/{key}": of[key].value for name, of in found.items() for key in keys}
        best = max(found, key=lambda name: np.nan_to_num(found[name]["held out"].value, nan=-np.inf))
        strongest = f"strength {list(self._strengths)[-1]:g}"
        most = found[strongest]
        base = statistics.mean(comparing.values(self.session, self._base, ARTEFACTS))
        gains = f"; at {strongest} they gain {most['held out'].shown('+.1%')}, and" if best != strongest else ", where"
        sentence = (
            f"{self._adapter.name} at {self.plan.best:g} %: held-out metrics gain most with {best} "
            f"({found[best]['held out'].shown('+.1%')}){gains} {most[ARTEFACTS].value:.1%} of the pixels are burnt "
            f"white or black (base {base.value:.1%})."
        )
        rows = picture_rows(self.session, self._base, [*self.plan.metrics, ARTEFACTS], "base")
        for name, cells in every.items():
            rows += picture_rows(self.session, cells, [*self.plan.metrics, ARTEFACTS], name)
        header = ["", "gain, metrics of training", "gain, held out"]
        header += ["distance from base", "diversity", "shows its prompt", "burnt pixels"]
        return Result(
            sentence, [Table(header, table)], self._figure(found),
            "Gain over the base model (per cent), distance from the base picture of the same seed and diversity over "
            "seeds, where 1 is the base's diversity, and share of burnt pixels, by strength; error bars are intervals "
            "of 95 %.",
            "", numbers, rows,
            [f"Negative side: negated is the request times minus a factor, percentile a quality of its own. Content is "
             f"read by {self._content.words}."],
        )  # fmt: skip

    @property
    def _adapter(self):
        return first_score_adapter(self.session, self.options.adapter)

    @property
    def _content(self) -> content.Content:
        return content.reader_of(self.session)

    @property
    def _base(self) -> list[Cell]:
        return self.session.cells(prompts=self.options.prompts)

    def _at_best(self, **changes) -> list[Cell]:
        return self.session.level(self._adapter, self.plan.best, prompts=self.options.prompts, **changes)

    @property
    def _strengths(self) -> dict[float, list[Cell]]:
        return {strength: self._at_best(strength=strength) for strength in self.options.strengths}

    @property
    def _variants(self) -> dict[str, list[Cell]]:
        chosen, found = self.options, {"as in the plan": self._at_best()}
        for factor in chosen.negated:
            found[f"negative: negated {factor:g}"] = self._at_best(negative="negated", negative_strength=factor)
        for level in chosen.percentiles:
            found[f"negative: percentile {level:g}"] = self._at_best(negative="percentile", negative_strength=level)
        for count in range(1, self._adapter.adapter.tokens):
            found[f"{count} of {self._adapter.adapter.tokens} tokens"] = self._at_best(tokens=count)
        for start, end in chosen.ranges:
            found[f"range {start:g} to {end:g}"] = self._at_best(start=start, end=end)
        return found

    def _of(self, cells: list[Cell]) -> dict[str, Estimate]:
        held_out = comparing.held_out(self._adapter.trained_on, self.plan.metrics)
        trained = [metric for metric in self.plan.metrics if metric not in held_out]
        distance = content.distance(self.session, self._content, cells, self._base)
        scale = np.nanmean(content.diversity(self.session, self._content, self._base))
        return {
            "trained on": self._gain(cells, trained), "held out": self._gain(cells, held_out),
            "distance": statistics.mean(distance / scale),
            "diversity": content.relative_diversity(self.session, self._content, cells, self._base),
            "agreement": statistics.mean(content.agreement(self.session, self._content, cells)),
            ARTEFACTS: statistics.mean(comparing.values(self.session, cells, ARTEFACTS)),
        }  # fmt: skip

    def _gain(self, cells: list[Cell], metrics: list[str]) -> Estimate:
        return comparing.mean_gain(self.session, cells, self._base, metrics)

    def _figure(self, found: dict[str, dict[str, Estimate]]) -> bytes:
        strengths = self.options.strengths

        def series(key: str, factor: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
            of = [found[f"strength {strength:g}"][key] for strength in strengths]
            return np.array([factor * each.value for each in of]), np.array([factor * each.error for each in of])

        def draw(axes) -> None:
            gains = {"metrics of training": series("trained on", 100), "held out": series("held out", 100)}
            lines(axes[0], strengths, gains, "gain, %", "strength")
            lines(axes[1], strengths, {"": series("distance")}, "distance from base", "strength")
            lines(axes[2], strengths, {"": series("diversity")}, "diversity, of the base's", "strength")
            lines(axes[3], strengths, {"": series(ARTEFACTS, 100)}, "burnt pixels, %", "strength")

        return chart(draw, 4, size=(3.2, 2.8))
