"""Successive halving: many noises are sampled a little, and only the promising ones further.

After some steps the predicted clean pictures are decoded and judged; the better half goes on to the next rung, and so
on, until as many are left as are kept. What goes on does so as if nothing had happened (:mod:`.runs`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from comfy.model_management import InterruptProcessingException

from .ledger import Ledger
from .noise import recipes
from .runs import Runs

# Of the steps: before the first rung where nobody says otherwise (of 0.25, 0.35, 0.5 and 0.65 the last kept the best
# pictures in `python -m benchmarks.search`), and between two.
FIRST, NEXT = 0.65, 1 / 8


@dataclass(frozen=True)
class Rung:
    """After ``steps`` steps in all, ``survivors`` go on."""

    steps: int
    survivors: int


def rungs(count: int, keep: int, steps: int, first: float = FIRST) -> list[Rung]:
    """Where ``count`` samplings of ``steps`` steps are halved, until ``keep`` are left or the steps are used up.

    Args:
        first: part of the steps before the first rung, above 0 and below 1.
    """
    found, at, left = [], max(1, round(first * steps)), count
    while left > keep and at < steps:
        left = max(keep, (left + 1) // 2)
        found.append(Rung(at, left))
        at += max(1, round(NEXT * steps))
    return found


def cost(count: int, keep: int, steps: int, first: float = FIRST) -> int:
    """Steps of all samplings together."""
    total, before, left = 0, 0, count
    for rung in rungs(count, keep, steps, first):
        total, before, left = total + left * (rung.steps - before), rung.steps, rung.survivors
    return total + left * (steps - before)


def affordable(budget: int, keep: int, steps: int, first: float = FIRST) -> int:
    """Samplings that successive halving may begin with, so that it costs at most ``budget`` whole ones."""
    count = keep
    while cost(count + 1, keep, steps, first) <= budget * steps:
        count += 1
    return count


def halving(ledger: Ledger, seed: int, budget: int, keep: int, first: float = FIRST) -> None:
    """Draw pictures for as many steps as ``budget`` whole samplings take.

    A cancelled search draws the best so far to their end.

    Args:
        seed: of the first noise; the others follow one by one.
        keep: pictures that are drawn to the end.
        first: see :func:`rungs`.
    """
    steps = ledger.sampling.steps
    count = affordable(budget, keep, steps, first)
    ledger.draw(recipes(seed, count), lambda runs: _halve(ledger, runs, rungs(count, keep, steps, first), keep))


def _halve(ledger: Ledger, runs: Runs, plan: Sequence[Rung], keep: int) -> list[int]:
    """Numbers of the runs that ended, best first by their last judgement."""
    alive, judged = list(range(len(runs.all))), False
    try:
        for rung in plan:
            runs.advance(alive, rung.steps)
            values = ledger.judged(runs.predictions(alive))
            runs.bring_back_the_model()
            ledger.predicted.append((ledger.evaluations + runs.evaluations, values))
            better = ledger.judge.best(values, rung.survivors)
            ledger.chose(values, values[better])
            ledger.show_prediction(runs.predictions([alive[better[0]]]))
            better, judged = [alive[number] for number in better], True
            runs.drop([number for number in alive if number not in better])
            alive = better
        runs.advance(alive)
    except InterruptProcessingException:
        if not judged:
            raise
        runs.drop(alive[keep:])
        alive = alive[:keep]
        runs.advance(alive)
        ledger.cancelled = True
    return alive
