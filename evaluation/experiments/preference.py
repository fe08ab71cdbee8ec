"""Which of two pictures is better: high, medium, low or base, by each metric, and by people where they have voted."""

from __future__ import annotations

import itertools

import numpy as np

from ...figures.plots import chart, heat
from .. import bradley_terry, comparing, paper, statistics
from ..cells import Cell
from ..contenders import NAMES, contenders, first_score_adapter
from ..experiment import Experiment, Result, Table, picture_rows
from ..plan import Settings
from ..votes import read_votes


class Preference(Experiment):
    """Pairs of pictures of the same prompt and seed."""

    title = "Preference: pairwise win rates"
    question = "Which of two pictures of the same prompt and seed is better?"

    class Options(Settings):
        """Attributes:
        adapter: name in the plan; empty for its first score adapter.
        """

        adapter: str = ""

    def why_not(self) -> str:
        return "" if self.session.score_adapters else "the plan has no score adapter"

    def wanted(self) -> comparing.Wanted:
        return [(cells, self._metrics) for cells in self._contenders.values()]

    def result(self) -> Result:
        rates = {metric: self._rates(metric) for metric in self._metrics}
        wins = {metric: np.nanmean(rate, 1) for metric, rate in rates.items()}  # the pairs of each with the others
        tables = [
            Table(["metric", *NAMES], [[m, *(f"{share:.1%}" for share in wins[m])] for m in self._metrics],
                  "Won, of all pairs with the three others"),
            Table(["metric", *(f"{name} over base" for name in NAMES[:3])],
                  [[m, *(self._over_base(m, name).shown(".1%") for name in NAMES[:3])] for m in self._metrics],
                  "Won against the base model"),
        ]  # fmt: skip
        trained = [m for m in self._metrics if m in self._adapter.trained_on]
        headline = trained[0] if trained else self._metrics[0]
        numbers = {f"{m}/{name}": float(w) for m in self._metrics for name, w in zip(NAMES, wins[m], strict=True)}
        sentence = f"By {headline}, " + ", ".join(
            f"{name} wins {share:.1%}" for name, share in zip(NAMES, wins[headline], strict=True)
        )
        shares = dict(zip(NAMES, wins[headline], strict=True))
        notes = ["Votes of people: none yet. `python iqa.py vote` opens a page that collects them."]
        if votes := read_votes(self.session, self._adapter.name):
            tables.append(self._of_people(votes))
            shares = dict(zip(NAMES, np.nanmean(bradley_terry.win_rates(votes, NAMES), 1), strict=True))
            said = ", ".join(f"{name} {share:.1%}" for name, share in shares.items())
            sentence += f". In {len(votes)} votes of people: {said}"
            numbers |= {f"people/{name}": float(share) for name, share in shares.items()}
            notes = ["Scores of people are logarithms of Bradley-Terry strengths, in the mean 0."]
        same = shares["high"] > shares["medium"] > shares["low"]
        reported = ", ".join(f"{name} {share} %" for name, share in paper.PREFERENCE.items())
        measured = ", ".join(f"{name} {100 * shares[name]:.1f} %" for name in NAMES[:3])
        rows = [row for name, cells in self._contenders.items()
                for row in picture_rows(self.session, cells, self._metrics, name)]  # fmt: skip
        return Result(
            f"{sentence}.", tables, self._figure(rates),
            "Share of pairs in which the row beats the column, in per cent.",
            paper.beside(f"{reported} of people's votes, in pairs with the base model", measured, same),
            numbers, rows, notes,
        )  # fmt: skip

    @property
    def _adapter(self):
        return first_score_adapter(self.session, self.options.adapter)

    @property
    def _metrics(self) -> list[str]:
        """Those that judge single pictures."""
        return [metric for metric in self.plan.metrics if not metric.startswith(comparing.CLEAN)]

    @property
    def _contenders(self) -> dict[str, list[Cell]]:
        return contenders(self.session, self._adapter)

    def _rates(self, metric: str) -> np.ndarray:
        """``[4, 4]`` share of pairs in which row beats column; NaN on the diagonal."""
        scores = [comparing.sign(metric) * self.session.values(cells, metric) for cells in self._contenders.values()]
        rates = np.full((len(NAMES), len(NAMES)), np.nan)
        for (i, one), (j, other) in itertools.permutations(enumerate(scores), 2):
            rates[i, j] = np.nanmean(_won(one, other))
        return rates

    def _over_base(self, metric: str, name: str) -> statistics.Estimate:
        chosen = self._contenders
        one, base = (
            comparing.sign(metric) * comparing.values(self.session, chosen[each], metric) for each in (name, "base")
        )
        return statistics.mean(_won(one, base))

    def _of_people(self, votes: list[bradley_terry.Vote]) -> Table:
        strengths, rates = bradley_terry.strengths(votes, NAMES), bradley_terry.win_rates(votes, NAMES)
        rows = [[name, strengths[name].shown("+.2f"), f"{np.nanmean(rates[i]):.1%}"] for i, name in enumerate(NAMES)]
        return Table(["", "Bradley-Terry score", "won"], rows, f"Votes of people ({len(votes)})")

    def _figure(self, rates: dict[str, np.ndarray]) -> bytes:
        def draw(axes) -> None:
            for place, (metric, rate) in enumerate(rates.items()):
                heat(axes[place], 100 * rate, NAMES, NAMES, ".0f")
                axes[place].set_title(metric, fontsize=10)

        columns = min(3, len(rates))
        return chart(draw, columns, -(-len(rates) // columns), (3.2, 3.0))


def _won(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """1 where the first is better, 0.5 for a tie, NaN where a score is missing."""
    won = (one > other) + 0.5 * (one == other)
    return np.where(np.isfinite(one) & np.isfinite(other), won, np.nan)
