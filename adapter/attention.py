"""Decoupled cross-attention: what stands at a site while a model is sampled.

``out = Attn(Q, K, V) + lambda * m * Attn(Q, K', V')`` (IP-Adapter, arXiv 2308.06721, eq. 5; arXiv 2412.01794, eq. 3).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from comfy.ldm.modules.attention import optimized_attention
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

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
        for keys, values, strength, mask in self.terms(q, extra_options):
            out = attend(out, q, keys, values, strength, extra_options, mask)
        return out

    def terms(self, q: Tensor, extra_options: dict) -> Iterator[tuple[Tensor, Tensor, float, Tensor | None]]:
        """K', V', strength and mask of every Apply node for the rows of ``q``, ``[rows, positions, C]``."""
        for application in self.applications:
            plan = plan_of(application, self.number, q, extra_options)
            keys, values = plan.keys_values[self.number]
            mask = plan.mask_at(application.sites[self.number], q, extra_options)
            yield keys, values, application.strengths[self.number], mask


def attend(
    out: Tensor,
    q: Tensor,
    keys: Tensor,
    values: Tensor,
    strength: float,
    extra_options: dict,
    mask: Tensor | None = None,
) -> Tensor:
    """``out + strength * mask * Attn(q, keys, values)``: two kernels on a GPU.

    Args:
        out, q: ``[rows, pixels, C]``
        keys, values: K', V' of the site, ``[G, heads, T, C / heads]``. Rows that follow one another may share theirs:
            each of the G serves ``rows / G`` of them, which are then one long row of pixels.
        mask: ``[rows or 1, pixels, 1]``, or None for 1 everywhere.
    """
    if "optimized_attention_override" in extra_options:
        attended = own_attention(q, _every_row(keys, len(q)), _every_row(values, len(q)), extra_options)
    else:
        queries = q.reshape(len(keys), -1, keys.shape[1], keys.shape[3]).transpose(1, 2)
        attended = scaled_dot_product_attention(queries, keys, values).transpose(1, 2).reshape(q.shape)
    if mask is None:
        return torch.add(out, attended, alpha=strength)
    return torch.addcmul(out, mask, attended, value=strength)


def _every_row(weights: Tensor, rows: int) -> Tensor:
    """``[G, heads, T, C / heads]`` -> ``[rows, T, C]``, as kernels that other packs set know K and V."""
    joined = weights.transpose(1, 2).flatten(2)
    return joined if len(joined) == rows else joined.repeat_interleave(rows // len(joined), dim=0)


def own_attention(q: Tensor, k: Tensor, v: Tensor, extra_options: dict) -> Tensor:
    """Attention as ComfyUI's own layers call it: chosen kernel, precision and overrides included."""
    return optimized_attention(
        q, k, v, extra_options["n_heads"],
        attn_precision=extra_options.get("attn_precision"), transformer_options=extra_options,
    )  # fmt: skip
