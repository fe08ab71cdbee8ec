"""Decoupled cross-attention: what stands at a site while a model is sampled.

``out = Attn(Q, K, V) + lambda * m * Attn(Q, K', V')`` (IP-Adapter, arXiv 2308.06721, eq. 5; arXiv 2412.01794, eq. 3).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from comfy.ldm.modules.attention import optimized_attention
from torch import Tensor

from .application import Application
from .plan import plan_of


class QualityAttention:
    """The attention of one site: what stood there before, plus that to the quality tokens of every Apply node.

    Args:
        number: of the site, in the order of the adapters' weights.
        applications: the Apply nodes that act here and now.
        previous: the replace patch that was there, if any; it computes ``Attn(Q, K, V)``.
    """

    def __init__(self, number: int, applications: tuple[Application, ...], previous: Callable | None = None):
        self.number, self.applications = number, applications
        self.previous = previous.previous if isinstance(previous, QualityAttention) else previous

    def __call__(self, q: Tensor, k: Tensor, v: Tensor, extra_options: dict) -> Tensor:
        """q ``[rows, pixels, C]``, k and v ``[rows, text tokens, C]`` -> ``[rows, pixels, C]``"""
        if len(k) != len(q):
            raise ValueError(
                f"The text has {len(k)} rows and the picture {len(q)}: another node adds rows to the text alone "
                "(samplers with NAG of their own do), which no replaced attention can follow. Use ComfyUI's own NAG or "
                "sampler."
            )
        out = (self.previous or own_attention)(q, k, v, extra_options)
        for application in self.applications:
            plan = plan_of(application, self.number, q, extra_options)
            keys, values = plan.keys_values_at(self.number)
            mask = plan.mask_at(application.sites[self.number].size(extra_options))
            out = attend(out, q, keys, values, application.strengths[self.number], extra_options, mask)
        return out


def attend(
    out: Tensor,
    q: Tensor,
    keys: Tensor,
    values: Tensor,
    strength: float,
    extra_options: dict,
    mask: Tensor | None = None,
) -> Tensor:
    """``out + strength * mask * Attn(q, keys, values)``.

    Args:
        out, q: ``[rows, pixels, C]``
        keys, values: K', V' of the site, ``[rows, T, C]``.
        mask: ``[rows, pixels, 1]``, or None for 1 everywhere.
    """
    attended = own_attention(q, keys, values, extra_options)
    if mask is None:
        return torch.add(out, attended, alpha=strength)
    return torch.addcmul(out, mask, attended, value=strength)


def own_attention(q: Tensor, k: Tensor, v: Tensor, extra_options: dict) -> Tensor:
    """Attention as ComfyUI's own layers call it: chosen kernel, precision and overrides included."""
    return optimized_attention(
        q, k, v, extra_options["n_heads"],
        attn_precision=extra_options["attn_precision"], transformer_options=extra_options,
    )  # fmt: skip
