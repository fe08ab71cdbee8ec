"""Parts of a sampling, given in percent of its steps and held against noise levels."""

from __future__ import annotations

from collections.abc import Callable


def in_range(
    sigma: float, start_percent: float, end_percent: float, percent_to_sigma: Callable[[float], float]
) -> bool:
    """Whether a noise level lies in a part of the sampling, both ends included, as in ComfyUI's conditionings.

    Args:
        sigma: noise level of a step.
        start_percent, end_percent: 0...1; 0 and 1 reach beyond the first and the last noise level.
        percent_to_sigma: of the schedule that samples, which a node may have changed after ours.
    """
    early = start_percent > 0 and sigma > percent_to_sigma(start_percent)
    late = end_percent < 1 and sigma < percent_to_sigma(end_percent)
    return not (early or late)
