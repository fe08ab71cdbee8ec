"""A forward of a transformer in which the picture's tokens attend to quality tokens.

``out[picture] = Attn(Q, K, V)[picture] + lambda * m * Attn(Q[picture], K', V')``, before the layer's own output
projection, in the joint attention over text and picture or in the cross-attention over the text. Text and reference
latents stay as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from .transformer_sites import NOTES, PLACE, SITES, Place

LATENT = "iqa_adapter_latent"  # key of transformer_options: shape of the latent that a forward sees
OVERRIDE = "optimized_attention_override"  # ComfyUI's key for what runs in place of its attention


@contextmanager
def sites_told(options: dict, latent: Tensor, arguments: dict) -> Iterator[None]:
    """Within, the modules of a transformer's sites know who they are.

    Args:
        options: ``transformer_options`` of the forward, changed in place.
        latent: what the model is given, ``[N, C, height, width]`` or ``[N, C, frames, height, width]``.
        arguments: of the forward beside it, by name.

    Raises:
        ValueError: the model is given something beside the latent with which the picture's place is not known.
    """
    there = options.get(SITES)
    if not there:
        yield
        return
    for site, _ in there.values():
        for name, what in site.refused:
            if arguments.get(name) is not None:
                raise ValueError(
                    f"IQA-Adapter does not work with {what} in {site.family}. Use the model without it, or without the "
                    "adapter."
                )
    options[LATENT], options[NOTES] = tuple(latent.shape), {}
    # also without a site, so that what torch.compile compiled for forwards without adapter does not run here
    options[OVERRIDE] = partial(_unchanged, options.get(OVERRIDE))
    with hooked(there):
        yield


@contextmanager
def hooked(modules: Iterable[nn.Module]) -> Iterator[None]:
    """Within, these modules look into the options of a forward for who they are."""
    handles = [module.register_forward_pre_hook(_tell, with_kwargs=True) for module in modules]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _unchanged(previous: Callable | None, attention: Callable, *args, **kwargs) -> Tensor:
    return attention(*args, **kwargs) if previous is None else previous(attention, *args, **kwargs)


def _tell(module: nn.Module, arguments: tuple, named: dict[str, Any]) -> tuple[tuple, dict] | None:
    """Give a site's module options with which its attention is the site's."""
    options = named.get("transformer_options") or {}
    if SITES not in options or PLACE in options:
        return None
    site, quality = options[SITES][module]
    place = site.place(options[LATENT], arguments, named, options)
    own, previous = {**options, PLACE: place}, options.get(OVERRIDE)
    if isinstance(previous, partial) and previous.func is _unchanged:
        (previous,) = previous.args
    own[OVERRIDE] = SiteAttention(quality, place, own, previous)
    return arguments, {**named, "transformer_options": own}


class SiteAttention:
    """ComfyUI's attention, or what another pack has put there, and the picture's attention to quality tokens.

    Args:
        quality: has ``terms(queries, options)``, see :class:`.attention.QualityAttention`.
        place: of the picture among the tokens.
        options: of the block.
        previous: override that was there.
    """

    def __init__(self, quality: Any, place: Place, options: dict, previous: Callable | None):
        self.quality, self.place, self.options, self.previous = quality, place, options, previous
        self.to_pass = place.passed

    def __call__(self, attention: Callable, q: Tensor, k: Tensor, v: Tensor, heads: int, *args, **kwargs) -> Tensor:
        """q is ``[rows, heads, tokens, width]`` with ``skip_reshape``, else ``[rows, tokens, heads * width]``."""
        out = _unchanged(self.previous, attention, q, k, v, heads, *args, **kwargs)
        is_split = kwargs.get("skip_reshape", False)
        tokens = 2 if is_split else 1
        if q.shape[tokens] != self.place.queries:
            return out  # another attention of the block
        if self.to_pass:
            self.to_pass -= 1
            return out
        if not is_split:
            q = q.unflatten(-1, (heads, -1)).transpose(1, 2)
        self.options[PLACE] = replace(self.place, rows=len(q))
        queries = q[:, :, self.place.picture]
        if self.previous is not None or out.requires_grad:
            out = out.clone()  # it, or a backward pass, may keep what it gave
        picture = out[:, self.place.picture]
        by_head = picture.unflatten(-1, (heads, -1))  # what is added need not be put together
        for keys, values, strength, mask in self.quality.terms(picture, self.options):
            attended = attend_by_head(queries, keys, values)
            if mask is None:
                by_head.add_(attended, alpha=strength)
            else:
                by_head.addcmul_(attended, mask[..., None], value=strength)
        return out


def attend_by_head(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """``Attn(Q, K', V')``: ``[rows, heads, positions, width]`` -> ``[rows, positions, heads, width]``

    Args:
        keys, values: ``[G, heads, T, width]``; each of the G serves ``rows / G`` rows that follow one another.
    """
    if len(keys) != len(queries):
        keys, values = (part.repeat_interleave(len(queries) // len(part), 0) for part in (keys, values))
    return scaled_dot_product_attention(queries, keys, values).transpose(1, 2)
