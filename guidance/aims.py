"""Where gradient guidance moves to: metrics with weights, each to better, to worse, or to a score."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import comfy.model_management
import torch
from torch import Tensor

from ..inference_mode import leave_inference_mode
from ..iqa_models.loading import IQAModel


@dataclass(frozen=True, eq=False)
class Aim:
    """A metric and what is wanted of it.

    Attributes:
        iqa_model: with a gradient, see :func:`check_differentiable`.
        weight: above 0; of its pull among the metrics.
        upwards: the raw score is to rise; not used with a target.
        target: raw score to reach, from whichever side; None for as much as possible.
    """

    iqa_model: IQAModel
    weight: float
    upwards: bool
    target: float | None = None

    @property
    def name(self) -> str:
        return self.iqa_model.entry.name

    def gradient(self, pixels: Tensor) -> tuple[float, Tensor]:
        """Raw score of ``[1, 3, H, W]`` in 0…1, and its gradient by the pixels.

        Raises:
            ValueError: the picture is too small for the metric.
        """
        entry = self.iqa_model.entry
        if min(pixels.shape[2:]) < entry.minimum_side:
            raise ValueError(
                f"Guidance sees pictures of {pixels.shape[3]}x{pixels.shape[2]}, too small for {entry.name}, which "
                f"needs at least {entry.minimum_side} pixels on each side. Draw larger ones, or set decode to whole."
            )
        pixels = pixels.detach().clone().requires_grad_(True)
        score = self.iqa_model.patcher.model(pixels.to(self.iqa_model.patcher.load_device))
        (gradient,) = torch.autograd.grad(score.sum(), pixels)
        return score.item(), gradient.nan_to_num()

    def pull(self, score: float, gradient: Tensor, mask: Tensor | None, size: float) -> Tensor:
        """The move by the latent that this metric asks for, of root mean square ``size`` within the mask.

        A target shortens the last moves, so that they end there: to first order a move m changes the score by
        ``m . gradient``.

        Args:
            score: raw.
            gradient: of the score by the latent, ``[1, C, h, w]``.
            mask: of its shape, 0…1, or None for 1 everywhere.
            size: above 0, in the latent's unit.
        """
        move = size * (gradient if mask is None else gradient * mask) / slope(gradient, mask)
        if self.target is None:
            return move if self.upwards else -move
        change = (move * gradient).sum().clamp_min(1e-12)
        return move * ((self.target - score) / change).clamp(-1, 1)

    def gain(self, before: float, after: float) -> float:
        """By how much a raw score came nearer to what is wanted; below 0 where it went away from it."""
        if self.target is not None:
            return abs(before - self.target) - abs(after - self.target)
        return after - before if self.upwards else before - after


def slope(gradient: Tensor, mask: Tensor | None) -> Tensor:
    """Root mean square of a gradient within a mask, both ``[1, C, h, w]``: the scale on which its score changes."""
    weights = torch.ones_like(gradient) if mask is None else mask
    return ((gradient * weights).square().sum() / weights.sum()).sqrt().clamp_min(1e-12)


@torch.no_grad()
def measured(iqa_model: IQAModel, pixels: Tensor) -> float:
    """Raw score of ``[1, 3, H, W]`` in 0…1."""
    return iqa_model.patcher.model(pixels.to(iqa_model.patcher.load_device)).item()


def check_differentiable(iqa_models: Sequence[IQAModel]) -> None:
    """Refuse metrics through which no gradient comes.

    Raises:
        ValueError: with what to use instead.
    """
    for iqa_model in iqa_models:
        patcher, side = iqa_model.patcher, max(64, iqa_model.entry.minimum_side)
        comfy.model_management.load_models_gpu([patcher])
        with torch.inference_mode(False), torch.enable_grad():
            leave_inference_mode(patcher.model)
            probe = torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(0))
            probe = probe.to(patcher.load_device).requires_grad_(True)
            score = patcher.model(probe)
            reached = score.requires_grad and torch.autograd.grad(score.sum(), probe, allow_unused=True)[0]
        if reached is False or reached is None or not bool(reached.abs().sum() > 0):
            raise ValueError(
                f"{iqa_model.entry.name} has no gradient that could guide; load a learned metric such as topiq_nr, "
                "cnniqa or quickstart_iqa."
            )
