"""Do pictures take on a reference's distortion, and nothing else of it?"""

from __future__ import annotations

from functools import cached_property
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from ...figures.curve import RHO
from ...figures.plots import chart, heat
from ...pictures.distortions import KINDS
from ...quality.rank_correlation import rank_correlation
from .. import comparing, content, paper, statistics
from ..cells import Cell
from ..experiment import Experiment, Result, Table, picture_row
from ..plan import Settings
from ..recognising import VISIBLE, NearestCentroid, ReaderOfDistortions
from ..references import References, references

NAMES = [kind.replace("_", " ") for kind in KINDS]
PHOTO_SIDE = 512  # pixels of photographs at most; they are reduced for smaller models
EXAMPLES = 48  # pictures of each kind that centroids are taken of


class Transfer(Experiment):
    """References with each distortion and every severity, for every reference adapter."""

    title = "Transfer: a reference's distortion"
    question = "Is the reference's distortion recognised in the pictures, as strong as it was, and its content not?"

    class Options(Settings):
        """Attributes:
        references: what is distorted: ``scenes`` of the quickstart, ``photographs``, or both.
        count: references of each kind.
        reads: IQA model whose activations recognise distortions where the quickstart's reader cannot; empty for the
            adapter's own, which is not independent of it.
        """

        references: tuple[Literal["scenes", "photographs"], ...] = Field(("photographs",), min_length=1)
        count: Annotated[int, Field(ge=4, le=100_000)] = 24
        reads: str = ""

    def why_not(self) -> str:
        return "" if self.session.reference_adapters else "the plan has no reference adapter"

    def wanted(self) -> comparing.Wanted:
        found = []
        if self._scenes:
            found += [(self.session.cells(), ["reader/attributes"])]
        for _, _, given, drawn in self._groups:
            for kind in KINDS:
                found += self._reader.wanted(drawn[kind]) + self._reader.wanted(given.kept[kind])
                found += [(drawn[kind], ["reader/attributes"])] if self._scenes else []
        return found

    def result(self) -> Result:
        tables, numbers, rows, matrices, said = [], {}, [], {}, []
        for adapter, source, given, drawn in self._groups:
            label = f"{adapter}, {source}"
            matrices[label] = self._confusion(given, drawn)
            table, found = self._of(label, given, drawn)
            tables.append(table)
            numbers |= {f"{label}/{name}": value for name, value in found.items()}
            said.append(self._sentence(label, found))
            rows += [row for kind in KINDS for row in self._rows(label, kind, given, drawn[kind])]
        recognised = [numbers[f"{adapter}, {source}/recognised"] for adapter, source, _, _ in self._groups]
        same = min(recognised) > 2 / len(KINDS)
        carried = "that motion blur, JPEG, colour shift and pixelation are carried from a reference without its content"
        measured = f"kinds recognised for {min(recognised):.0%} and more (chance {1 / len(KINDS):.0%})"
        return Result(
            " ".join(said), tables, self._figure(matrices),
            f"Share of pictures (%) in which a kind is recognised, references of severity {VISIBLE:g} to 1.",
            paper.beside(carried, measured, same), numbers, rows,
            [f"Recognised by {self._reader.words}; every reference has a severity of its own, evenly spread over 0 to "
             "1. Intervals are by bootstrap over references."],
        )  # fmt: skip

    @property
    def _scenes(self) -> bool:
        return self.session.prompts[0].scene is not None

    @cached_property
    def _given(self) -> dict[str, References]:
        side = min(PHOTO_SIDE, *self.session.size)
        return {s: references(s, self.options.count, side, self.session.store) for s in self.options.references}

    @cached_property
    def _groups(self) -> list[tuple[str, str, References, dict[str, list[Cell]]]]:
        """Adapter, source, the references, and the pictures that follow them, by kind."""
        return [
            (each.name, source, given, {kind: self.session.following(each, kept) for kind, kept in given.kept.items()})
            for each in self.session.reference_adapters for source, given in self._given.items()
        ]  # fmt: skip

    @cached_property
    def _reader(self) -> ReaderOfDistortions | NearestCentroid:
        if self._scenes:
            return ReaderOfDistortions(self.session)
        model = self.options.reads or self.session.reference_adapters[0].metadata.iqa_model
        side = min(PHOTO_SIDE, *self.session.size)
        examples = references(self.options.references[0], EXAMPLES, side, self.session.store, variant=1)
        return NearestCentroid(self.session, model, examples)

    def _confusion(self, given: References, drawn: dict[str, list[Cell]]) -> np.ndarray:
        """``[kinds of references, kinds recognised]``, shares."""
        counts = [np.bincount(self._kinds(given, drawn[kind], kind), minlength=len(KINDS)) for kind in KINDS]
        return np.stack([count / count.sum() for count in counts])

    def _kinds(self, given: References, pictures, kind: str) -> np.ndarray:
        """Recognised kinds of the pictures whose references show their distortion."""
        seen = self._reader.kinds(pictures)
        return seen if kind == "clean" else seen[given.severity >= VISIBLE]

    def _of(self, label: str, given: References, drawn: dict[str, list[Cell]]) -> tuple[Table, dict[str, float]]:
        columns = ["recognised", f"{RHO}, severity {VISIBLE:g} to 1", f"{RHO}, 0 to 1"]
        header = ["reference", *(part for name in columns for part in (name, "in references"))]
        figures = []
        for kind in KINDS:
            pair = drawn[kind], given.kept[kind]
            right = [float(np.mean(self._kinds(given, each, kind) == KINDS.index(kind))) for each in pair]
            some, every = ([self._rho(given, each, kind, least) for each in pair] for least in (VISIBLE, 0.0))
            figures.append([*right, *some, *every])
        means = np.nanmean(figures, 0)
        rows = [[name, *(f"{value:.2f}" if np.isfinite(value) else "" for value in of)]
                for name, of in zip([*NAMES, "mean"], [*figures, means], strict=True)]  # fmt: skip
        names = ["recognised", "rho, visible", "rho"]
        names = [part for name in names for part in (name, f"{name}{', ' if ',' in name else ' '}in references")]
        numbers = dict(zip(names, map(float, means), strict=True))
        for kind, of in zip(KINDS, figures, strict=True):
            numbers |= {f"{kind}/{name}": float(value) for name, value in zip(names, of, strict=True)}
        right = np.stack([self._right(given, drawn[kind], kind) for kind in KINDS], 1)
        estimate = statistics.mean(right)
        numbers |= {"recognised, low": estimate.low, "recognised, high": estimate.high}
        numbers |= {f"content/{name}": value for name, value in self._leak(given, drawn).items()}
        return Table(header, rows, label), numbers

    def _right(self, given: References, pictures: list[Cell], kind: str) -> np.ndarray:
        """``[count]``: 1 where the kind is recognised, NaN where it is too weak to be."""
        right = (self._reader.kinds(pictures) == KINDS.index(kind)).astype(float)
        return right if kind == "clean" else np.where(given.severity >= VISIBLE, right, np.nan)

    def _rho(self, given: References, pictures, kind: str, least: float) -> float:
        if kind == "clean":
            return np.nan
        chosen = given.severity >= least
        return rank_correlation(given.severity[chosen], self._reader.severity(pictures, kind)[chosen])

    def _leak(self, given: References, drawn: dict[str, list[Cell]]) -> dict[str, float]:
        """Share of attributes read as the prompt, as the reference and as another reference have them."""
        if not self._scenes:
            return {}
        cells = [cell for kind in KINDS for cell in drawn[kind]]
        asked = float(np.mean(content.agreement_of_any(self.session, cells)))
        found = {"asked": asked, "base": float(np.mean(content.agreement_of_any(self.session, self.session.cells())))}
        if given.content.shape[1]:
            read = self.session.values(cells, "reader/attributes").reshape(len(KINDS), *given.content.shape)
            others = np.roll(given.content, 1, axis=0)
            found |= {"leaked": float(np.mean(read == given.content)), "chance": float(np.mean(read == others))}
        return found

    def _sentence(self, label: str, found: dict[str, float]) -> str:
        text = (
            f"{label}: the distortion is recognised for {found['recognised']:.2f} of the pictures "
            f"({found['recognised, low']:.2f} to {found['recognised, high']:.2f}; "
            f"{found['recognised in references']:.2f} of the references themselves), severity {RHO} "
            f"{found['rho']:.2f} ({found['rho in references']:.2f})"
        )
        if "content/asked" in found:
            text += f"; attributes as the prompt asks {found['content/asked']:.3f} (base {found['content/base']:.3f})"
        if "content/leaked" in found:
            text += f", as the reference has them {found['content/leaked']:.3f}"
            text += f" (those of another reference {found['content/chance']:.3f})"
        return f"{text}."

    def _rows(self, label: str, kind: str, given: References, cells: list[Cell]) -> list[dict]:
        seen = self._reader.kinds(cells)
        read = np.full(len(cells), np.nan) if kind == "clean" else self._reader.severity(cells, kind)
        rows = []
        for i, cell in enumerate(cells):
            facts = {"kind": kind, "severity": float(given.severity[i]), "recognised": KINDS[seen[i]]}
            facts["reference"] = given.kept[kind][i].digest[:16]
            rows.append(picture_row(self.session, cell, "severity read", float(read[i]), label, **facts))
        return rows

    def _figure(self, matrices: dict[str, np.ndarray]) -> bytes:
        def draw(axes) -> None:
            for place, (label, matrix) in enumerate(matrices.items()):
                heat(axes[place], 100 * matrix, NAMES, NAMES, ".0f")
                axes[place].set_title(label, fontsize=10)
                axes[place].set_xlabel("recognised")
                axes[place].set_ylabel("reference")

        return chart(draw, len(matrices), size=(5.2, 4.4))
