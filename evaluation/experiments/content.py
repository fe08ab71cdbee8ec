"""Do pictures still show what was asked for, in as many ways as the base model's?"""

from __future__ import annotations

import numpy as np

from ...figures.plots import chart, lines
from ...quickstart.reader import ATTRIBUTES, labels
from .. import comparing, content, statistics
from ..cells import Cell
from ..experiment import Experiment, Result, Table, picture_row
from ..statistics import Estimate


class ContentAndDiversity(Experiment):
    """Agreement with the prompt, diversity over seeds, and distance from the base picture, by requested percentile."""

    title = "Content and diversity"
    question = "What happens to content and variety as quality is asked for?"

    def why_not(self) -> str:
        return "" if self.session.score_adapters else "the plan has no score adapter"

    def wanted(self) -> comparing.Wanted:
        measures = content.measures_of(self._content)
        return [(cells, measures) for _, _, cells in self._groups]

    def result(self) -> Result:
        found = {(name, request): self._of(cells) for name, request, cells in self._groups}
        table, numbers, rows, said = [], {}, [], []
        for (name, request), values in found.items():
            label = f"{name} {request}".strip()
            table.append([label, *(values[key].shown() for key in ("agreement", "diversity", "distance"))])
            numbers |= {f"{label}/{key}": value.value for key, value in values.items()}
            numbers |= {f"{label}/diversity, error": values["diversity"].error / 1.96}
        for name, request, cells in self._groups:
            rows += self._rows(f"{name} {request}".strip(), cells)
        for adapter in self.session.score_adapters:
            best = found[adapter.name, self._best]
            text = f"{adapter.name} at {self._best}: diversity over seeds {best['diversity'].shown()} of the base's"
            if np.isfinite(best["agreement"].value):
                base = found["base", ""]["agreement"].value
                text += f", {self._agreement} {best['agreement'].shown('.3f')} (base {base:.3f})"
            said.append(text)
        tables = [Table(["", self._agreement, "diversity, of the base's", "distance from the base picture"], table)]
        return Result(
            f"{'; '.join(said)}.", [*tables, *self._attributes(numbers)], self._figure(found),
            f"Read by {self._content.words}; error bars are intervals of 95 %.", "", numbers, rows,
            [f"Read by {self._content.words}. Diversity: mean distance of two pictures of the same prompt. Distance: "
             "of pictures of the same prompt and seed, where 1 is the base's diversity."],
        )  # fmt: skip

    @property
    def _content(self) -> content.Content:
        return content.reader_of(self.session)

    @property
    def _agreement(self) -> str:
        kinds = {"attributes": "attributes as asked", "clip": "CLIP's cosine with the prompt"}
        return kinds.get(self._content.agreement, "agreement with the prompt (not measured)")

    @property
    def _best(self) -> str:
        return f"{self.plan.best:g} %"

    @property
    def _groups(self) -> list[tuple[str, str, list[Cell]]]:
        """Who made the pictures, what was asked for, and the pictures."""
        found = [("base", "", self.session.cells())]
        for adapter in self.session.score_adapters:
            found += [(adapter.name, f"{lv:g} %", self.session.level(adapter, lv)) for lv in self.plan.levels]
        return found

    def _of(self, cells: list[Cell]) -> dict[str, Estimate]:
        session, how, base = self.session, self._content, self.session.cells()
        scale = np.nanmean(content.diversity(session, how, base))
        return {
            "agreement": statistics.mean(content.agreement(session, how, cells)),
            "diversity": content.relative_diversity(session, how, cells, base),
            "distance": statistics.mean(content.distance(session, how, cells, base) / scale),
        }

    def _attributes(self, numbers: dict[str, float]) -> list[Table]:
        """Each attribute by itself, where the reader knows them."""
        if self._content is not content.READER:
            return []
        rows = []
        for name, request, cells in self._groups:
            label = f"{name} {request}".strip()
            truth = np.array([labels(self.session.prompts[cell.prompt].scene) for cell in cells])
            shares = content.attributes(self.session, cells, truth).mean((0, 1))
            rows.append([label, *(f"{share:.3f}" for share in shares)])
            numbers |= {f"{label}/{each}": float(s) for each, s in zip(ATTRIBUTES, shares, strict=True)}
        return [Table(["", *(name.replace("_", " ") for name in ATTRIBUTES)], rows, "Attributes read as asked")]

    def _rows(self, label: str, cells: list[Cell]) -> list[dict]:
        agreement = content.agreement(self.session, self._content, cells).ravel()
        distance = content.distance(self.session, self._content, cells, self.session.cells()).ravel()
        return [
            picture_row(self.session, cell, metric, float(value), label)
            for metric, values in ((self._agreement, agreement), ("distance from the base picture", distance))
            for cell, value in zip(cells, values, strict=True)
        ]

    def _figure(self, found: dict[tuple[str, str], dict[str, Estimate]]) -> bytes:
        titles = {"agreement": self._agreement, "diversity": "diversity, of the base's"}
        titles["distance"] = "distance from base"

        def draw(axes) -> None:
            for place, (key, title) in enumerate(titles.items()):
                series = {}
                for adapter in self.session.score_adapters:
                    values = [found[adapter.name, f"{level:g} %"][key] for level in self.plan.levels]
                    series[adapter.name] = np.array([v.value for v in values]), np.array([v.error for v in values])
                lines(axes[place], self.plan.levels, series, title, "requested percentile")
                axes[place].axhline(found["base", ""][key].value, linestyle="--", color="black", linewidth=1)

        return chart(draw, len(titles), size=(3.2, 2.8))
