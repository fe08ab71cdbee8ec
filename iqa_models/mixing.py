"""Arithmetic with the activations of reference pictures: raw features of one model, layer, pooling and resize."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from ..quality.resize import differ, in_words
from .features import Features


def combine(features: Sequence[Features], weights: Sequence[float] | None = None) -> Features:
    """One set of activations from several reference pictures: their (weighted) mean.

    Args:
        features: every row of every member is one picture.
        weights: one per picture, at least 0, not all 0; None for equal ones.

    Returns:
        Features of one row.

    Raises:
        ValueError: the sources differ, or the weights do not suit.
    """
    _check_source(*features)
    rows = torch.cat([member.tensor for member in features])
    weight = rows.new_ones(len(rows)) if weights is None else rows.new_tensor(weights)
    if len(weight) != len(rows):
        raise ValueError(f"{len(weight)} weights were given for {len(rows)} reference pictures; give one for each.")
    if weight.min() < 0 or not weight.sum() > 0:
        raise ValueError(f"Weights of reference pictures must be at least 0 and not all 0, but are {list(weights)}.")
    return _mixture(features, (weight / weight.sum() @ rows)[None])


def blend(a: Features, b: Features, ratio: float) -> Features:
    """``(1 - ratio) a + ratio b``; ``ratio`` 0...1, beyond it extrapolates.

    Raises:
        ValueError: the sources differ, or both have several rows, but not equally many.
    """
    _check_source(a, b)
    return _mixture([a, b], torch.lerp(*_same_rows(a, b), ratio))


def add_difference(a: Features, b: Features, c: Features, amount: float) -> Features:
    """``a + amount (b - c)``: what B has over C is added to A.

    Raises:
        ValueError: as for :func:`blend`.
    """
    _check_source(a, b, c)
    base, more, less = _same_rows(a, b, c)
    return _mixture([a, b, c], base + amount * (more - less))


def _mixture(features: Sequence[Features], tensor: torch.Tensor) -> Features:
    """What was made of features; of unknown resize where one of them is."""
    resizes = {member.resize for member in features}
    return replace(features[0], tensor=tensor, resize=resizes.pop() if len(resizes) == 1 else "")


def _check_source(*features: Features) -> None:
    first = features[0]
    for other in features[1:]:
        if other.source != first.source or differ(first.resize, other.resize):
            one, another = (f"{each.source}, pictures {in_words(each.resize)}" for each in (first, other))
            raise ValueError(
                f"Activations of {one}, and of {another}, cannot be mixed; take them from the same model, layer, "
                "pooling and resize."
            )


def _same_rows(*features: Features) -> list[torch.Tensor]:
    counts = {len(member) for member in features} - {1}
    if len(counts) > 1:
        raise ValueError(
            f"Batches of {' and '.join(map(str, sorted(counts)))} reference pictures cannot be mixed row by row; "
            "use equally many, or one."
        )
    count = max(counts, default=1)
    return [member.tensor.expand(count, -1) for member in features]
