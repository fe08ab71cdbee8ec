"""Decoupled cross-attention: the patch that ComfyUI calls in place of a layer's cross-attention.

``out = Attn(Q, K, V) + lambda * m * Attn(Q, K', V')`` (IP-Adapter, arXiv 2308.06721, eq. 5; arXiv 2412.01794, eq. 3).
"""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from comfy.ldm.modules.attention import optimized_attention
from torch import Tensor

from .guider import sigma_of
from .rows import PLANS, Plan


class QualityAttention:
    """Replace patch of one cross-attention layer.

    Other packs may add their own attention on top with :meth:`add`, as they do on IPAdapter Plus's patches.

    Args:
        application: key of the plan in ``transformer_options[PLANS]``; without one, the layer is unchanged.
        start: first column of K' in :attr:`Plan.keys_values`; V' follows it.
        width: C.
        strength: lambda of this layer.
        previous: the replace patch that was there before, if any; it computes ``Attn(Q, K, V)``.
    """

    def __init__(self, application: str, start: int, width: int, strength: float, previous: Callable | None = None):
        self.application = application
        self.keys = slice(start, start + width)
        self.values = slice(start + width, start + 2 * width)
        self.strength = strength
        self.previous = previous
        self.added: list[tuple[Callable, dict]] = []

    def __call__(self, q: Tensor, k: Tensor, v: Tensor, extra_options: dict) -> Tensor:
        """q ``[rows, pixels, C]``, k and v ``[rows, text tokens, C]`` -> ``[rows, pixels, C]``"""
        out = (self.previous or _attention)(q, k, v, extra_options)
        plan = extra_options.get(PLANS, {}).get(self.application)
        if plan is not None:
            out = self._attend(out, q, plan, extra_options)
        for callback, options in self.added:
            if options["sigma_end"] <= sigma_of(extra_options) <= options["sigma_start"]:
                out = out + callback(out, q, k, v, extra_options, **options)
        return out

    def _attend(self, out: Tensor, q: Tensor, plan: Plan, extra_options: dict) -> Tensor:
        keys, values = plan.keys_values[..., self.keys], plan.keys_values[..., self.values]
        attended = _attention(q, keys, values, extra_options)
        if plan.mask is None:
            return torch.add(out, attended, alpha=self.strength)
        mask = plan.mask_at(tuple(extra_options["activations_shape"][-2:]))
        return torch.addcmul(out, mask, attended, value=self.strength)

    def add(self, callback: Callable, sigma_start: float = float("inf"), sigma_end: float = 0.0, **options) -> None:
        """Add ``callback(out, q, k, v, extra_options, **options)`` to the output while sigma is in the range."""
        self.added.append((callback, {**options, "sigma_start": sigma_start, "sigma_end": sigma_end}))

    def copy(self) -> QualityAttention:
        """A patch of its own for a clone of the model, so that what is added there stays there."""
        twin = copy.copy(self)
        twin.added = list(self.added)
        if isinstance(self.previous, QualityAttention):
            twin.previous = self.previous.copy()
        return twin

    def __deepcopy__(self, memo: dict) -> QualityAttention:
        return self.copy()

    def to(self, device_or_dtype) -> QualityAttention:
        """ComfyUI moves patches to where the model runs; ours hold no tensors, the one before may."""
        if hasattr(self.previous, "to"):
            self.previous = self.previous.to(device_or_dtype)
        return self

    def models(self) -> list:
        """Models that the patch before brings along."""
        return self.previous.models() if hasattr(self.previous, "models") else []


def _attention(q: Tensor, k: Tensor, v: Tensor, extra_options: dict) -> Tensor:
    """Attention as ComfyUI's own layers call it: chosen kernel, precision and overrides included."""
    return optimized_attention(
        q,
        k,
        v,
        extra_options["n_heads"],
        attn_precision=extra_options["attn_precision"],
        transformer_options=extra_options,
    )
