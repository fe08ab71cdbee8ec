"""A metric that is a formula, as a net."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn


class Formula(nn.Module):
    """``[N, 3, H, W]`` in 0...1 -> scores ``[N]``; no weights."""

    def __init__(self, formula: Callable[[Tensor], Tensor]):
        super().__init__()
        self.formula = formula

    def forward(self, images: Tensor) -> Tensor:
        return self.formula(images)
