"""Local search: around the best noise, for a better one.

Zero-order search of Ma et al., *Inference-time scaling for diffusion models beyond scaling denoising steps* (arXiv
2501.09732): neighbours of the best noise are sampled, and the best of all is the next to have neighbours.
"""

from __future__ import annotations

from .ledger import Ledger
from .noise import Recipe, recipes

START = 1 / 4  # of the budget, for seeds that have nothing to do with each other


def local_search(
    ledger: Ledger, seed: int, budget: int, keep: int, stop: bool, radius: float, neighbours: int, cutoff: float
) -> None:
    """Draw ``budget`` pictures: some of single seeds, then rounds of neighbours of the best so far.

    Args:
        seed: of the first noise; those of others, and of what is mixed in, follow one by one.
        budget: samplings.
        keep: pictures that will be kept.
        stop: end as soon as ``keep`` pictures reach the thresholds.
        radius, cutoff: see :meth:`.noise.Recipe.turned`.
        neighbours: in a round.
    """
    drawn = iter(recipes(seed, budget))
    _draw(ledger, [next(drawn) for _ in range(first_round(budget, keep))], keep, stop)
    while (left := budget - len(ledger.pictures)) > 0 and not (stop and ledger.passed() >= keep):
        pivot = ledger.best(1)[0].recipe
        around = [pivot.turned(next(drawn).seed, radius, cutoff) for _ in range(min(neighbours, left))]
        _draw(ledger, around, keep, stop)


def first_round(budget: int, keep: int) -> int:
    """Pictures of single seeds."""
    return min(budget, max(2, keep, round(START * budget)))


def _draw(ledger: Ledger, recipes: list[Recipe], keep: int, stop: bool) -> None:
    at_once = ledger.sampling.at_once
    for start in range(0, len(recipes), at_once):
        if not (stop and ledger.passed() >= keep):
            ledger.draw(recipes[start : start + at_once])
