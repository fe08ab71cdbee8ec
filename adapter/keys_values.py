"""K' and V' of the sites, from the table of all of them that an adapter computes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from .site import Site

KeysValues = tuple[tuple[Tensor, Tensor], ...]  # K', V' of every site, each ``[G, heads, T, C / heads]``


def normed(table: Tensor, sites: Sequence[Site]) -> Tensor:
    """The table whose K' are normed as each layer norms its own K; the same one where none does."""
    parts = table.split([site.width for site in sites for _ in ("key", "value")], dim=-1)
    keys = [site.normed(key) for site, key in zip(sites, parts[::2], strict=True)]
    if all(key is part for key, part in zip(keys, parts[::2], strict=True)):
        return table
    return torch.cat([part for pair in zip(keys, parts[1::2], strict=True) for part in pair], dim=-1)


def by_site(table: Tensor, sites: Sequence[Site]) -> KeysValues:
    """Views of a table, in the shape that PyTorch's attention takes, so that a site has nothing left to prepare.

    Args:
        table: ``[G, T, 2 sum(C)]``: K' then V' of the first site, K' then V' of the second, ...
    """
    halves = iter(table.split([site.width for site in sites for _ in ("key", "value")], dim=-1))
    return tuple((_by_head(next(halves), site.heads), _by_head(next(halves), site.heads)) for site in sites)


def _by_head(weights: Tensor, heads: int) -> Tensor:
    """``[G, T, C]`` -> ``[G, heads, T, C / heads]``"""
    return weights.unflatten(-1, (heads, -1)).transpose(1, 2)
