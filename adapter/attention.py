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
        self.previous: Callable | None = previous.previous if isinstance(previous, QualityAttention) else previous

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
            mask = plan.mask_at(application.sites[self.number].size(extra_options), q.shape[1])
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

    With K' and V' as block-diagonal matrices, a block for each head, T tokens cost two small products: q is read once,
    and the second one adds into the output. Where another pack has set a kernel of its own, that one computes it.

    Args:
        out, q: ``[rows, pixels, C]``
        keys, values: K', V' of the site, ``[rows, T, C]``.
        mask: ``[rows, pixels, 1]``, or None for 1 everywhere.
    """
    if "optimized_attention_override" in extra_options:
        attended = own_attention(q, keys, values, extra_options)
        return torch.add(out, attended if mask is None else mask * attended, alpha=strength)
    heads, tokens = extra_options["n_heads"], keys.shape[1]
    scale = (q.shape[-1] // heads) ** -0.5
    scores = torch.bmm(q, _by_head(keys * scale, heads).mT).unflatten(-1, (heads, tokens))
    shares = scores.softmax(-1, dtype=extra_options["attn_precision"]).to(q.dtype).flatten(-2)
    return torch.baddbmm(out, shares if mask is None else mask * shares, _by_head(values, heads), alpha=strength)


def _by_head(weights: Tensor, heads: int) -> Tensor:
    """``[rows, T, C]`` -> ``[rows, heads T, C]``: for each head its part of every token, and zeros elsewhere."""
    parts = weights.unflatten(-1, (heads, -1)).movedim(-2, 1)
    own = torch.eye(heads, dtype=weights.dtype, device=weights.device)
    return (parts[:, :, :, None] * own[:, None, :, None]).flatten(-2).flatten(1, 2)


def own_attention(q: Tensor, k: Tensor, v: Tensor, extra_options: dict) -> Tensor:
    """Attention as ComfyUI's own layers call it: chosen kernel, precision and overrides included."""
    return optimized_attention(
        q, k, v, extra_options["n_heads"],
        attn_precision=extra_options["attn_precision"], transformer_options=extra_options,
    )  # fmt: skip
