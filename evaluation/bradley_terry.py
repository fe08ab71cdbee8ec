"""Strengths of things that were compared in pairs.

Bradley and Terry, *Rank analysis of incomplete block designs* (Biometrika 1952): ``P(i beats j) = p_i / (p_i + p_j)``.
The maximum of the likelihood is found by minorisation and maximisation (Hunter, *MM algorithms for generalized
Bradley-Terry models*, Annals of Statistics 2004). Ties count half for each side, and every pair begins with a tenth of
a win on each side, so that a thing which never lost has a finite strength.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .statistics import CONFIDENCE, RESAMPLES, SEED, Estimate

PRIOR = 0.1  # wins on each side of every pair before the first vote
ROUNDS, ENOUGH = 1000, 1e-9

Vote = tuple[str, str, float]  # first, second, share of the win that is the first's: 1, 0, or 0.5 for a tie


def strengths(votes: Sequence[Vote], names: Sequence[str]) -> dict[str, Estimate]:
    """Logarithms of the strengths, in the mean 0, with intervals of 95 % by bootstrap over votes.

    Args:
        votes: of pairs of ``names``.

    Raises:
        ValueError: there is no vote.
    """
    if not votes:
        raise ValueError("There are no votes yet; `python iqa.py vote` collects them.")
    number = {name: place for place, name in enumerate(names)}
    pairs = np.array([(number[first], number[second], share) for first, second, share in votes])
    value = _fitted(_wins(pairs, len(names)))
    generator = np.random.default_rng(SEED)
    chosen = (generator.integers(len(pairs), size=len(pairs)) for _ in range(RESAMPLES))
    drawn = [_fitted(_wins(pairs[rows], len(names))) for rows in chosen]
    half = (100 - CONFIDENCE) / 2
    low, high = np.percentile(drawn, [half, 100 - half], axis=0)
    return {name: Estimate(*map(float, (value[i], low[i], high[i]))) for name, i in number.items()}


def win_rates(votes: Sequence[Vote], names: Sequence[str]) -> np.ndarray:
    """Share of the wins of each (row) over each (column); NaN where the two never met."""
    number = {name: place for place, name in enumerate(names)}
    pairs = np.array([(number[first], number[second], share) for first, second, share in votes]).reshape(-1, 3)
    wins = _wins(pairs, len(names), prior=0)
    with np.errstate(invalid="ignore"):
        return wins / (wins + wins.T)


def _wins(pairs: np.ndarray, count: int, prior: float = PRIOR) -> np.ndarray:
    """``[count, count]``: how often row beat column."""
    wins = np.full((count, count), float(prior))
    np.fill_diagonal(wins, 0)
    first, second = pairs[:, 0].astype(int), pairs[:, 1].astype(int)
    np.add.at(wins, (first, second), pairs[:, 2])
    np.add.at(wins, (second, first), 1 - pairs[:, 2])
    return wins


def _fitted(wins: np.ndarray) -> np.ndarray:
    """Logarithms of the strengths ``[count]``: ``p_i <- w_i / sum_j n_ij / (p_i + p_j)``."""
    met, won = wins + wins.T, wins.sum(1)
    p = np.ones(len(wins))
    for _ in range(ROUNDS):
        updated = won / (met / (p[:, None] + p)).sum(1)
        updated /= np.exp(np.log(updated).mean())
        if np.abs(updated - p).max() < ENOUGH:
            break
        p = updated
    return np.log(p)
