"""Best of N: every noise is sampled to the end, and the best pictures are kept."""

from __future__ import annotations

from .ledger import Ledger
from .noise import recipes as of_seeds


def best_of(ledger: Ledger, seed: int, budget: int, keep: int, stop: bool) -> None:
    """Draw ``budget`` pictures.

    Args:
        seed: of the first noise; the others follow one by one.
        budget: samplings.
        keep: pictures that will be kept.
        stop: end as soon as ``keep`` pictures reach the thresholds.
    """
    recipes = of_seeds(seed, budget)
    while recipes and not (stop and ledger.passed() >= keep):
        group, recipes = recipes[: ledger.sampling.at_once], recipes[ledger.sampling.at_once :]
        ledger.draw(group)
