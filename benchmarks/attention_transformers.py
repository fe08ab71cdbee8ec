"""Rows of :mod:`.attention` for transformers, at the true shapes of Flux and Z-Image; no model of them is needed."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch.nn.functional import linear, rms_norm

from benchmarks.measure import side_by_side, table
from iqa_adapter.adapter.adapter import Adapter, LayerWeights
from iqa_adapter.adapter.attention import optimized_attention
from iqa_adapter.adapter.metadata import Metadata
from iqa_adapter.adapter.projection import QualityProjection
from iqa_adapter.adapter.tokens import embed_quality
from iqa_adapter.adapter.transformer_forward import SiteAttention, attend_by_head
from iqa_adapter.adapter.transformer_sites import Place

TOKENS = 2
SHAPES = {  # sites, heads, width of a head, tokens of the text, tokens of a picture of 1024x1024
    "Flux": (57, 24, 128, 512, 4096),
    "Z-Image": (30, 30, 128, 128, 4096),
}


def layers(
    device: torch.device, dtype: torch.dtype, rounds: int, clock: Callable, ratios: Callable, names: list[str]
) -> str:
    """One joint attention on one row, as models without guidance have it."""
    rows = [[name, *ratios(side_by_side(_candidates(*shape[1:], device, dtype), rounds, clock))]
            for name, shape in SHAPES.items()]  # fmt: skip
    return table(["one joint attention, 1024 px", *names], rows)


def _candidates(heads: int, width: int, text: int, picture: int, device, dtype) -> dict[str, Callable]:
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator).to(device, dtype)

    q, k, v = (draw(1, heads, text + picture, width) for _ in range(3))
    tokens, to = draw(1, TOKENS, heads * width), [draw(heads * width, heads * width) for _ in range(2)]
    scale = torch.ones(width, device=device, dtype=dtype)

    def projected() -> list[torch.Tensor]:
        keys, values = (linear(tokens, weight).unflatten(-1, (heads, -1)).transpose(1, 2) for weight in to)
        return [rms_norm(keys, (width,), scale), values]

    def plain(*_unused, **_more) -> torch.Tensor:
        return optimized_attention(q, k, v, heads, skip_reshape=True)

    def public() -> torch.Tensor:
        out = plain()
        out[:, text:] += attend_by_head(q[:, :, text:], *projected()).flatten(2)
        return out

    quality = _Kept(*projected())
    ours = SiteAttention(quality, Place(1, text, (1, 64, picture // 64), text + picture, 0), {}, None)
    return {
        "unpatched": plain,
        "projected in every call": public,
        "ours": lambda: ours(plain, q, k, v, heads, skip_reshape=True),
    }


class _Kept:
    """K', V' that are there already."""

    def __init__(self, keys: torch.Tensor, values: torch.Tensor):
        self._terms = [(keys, values, 1.0, None)]

    def terms(self, _queries: torch.Tensor, _options: dict) -> list:
        return self._terms


def resident(dtype: torch.dtype) -> str:
    """What an adapter keeps on the device, and how long a moved slider takes to compute it."""
    rows = []
    for name, (sites, heads, width, *_) in SHAPES.items():
        adapter = _adapter(sites, heads * width, dtype)
        weights = sum(weight.nbytes for layer in adapter.layers for weight in (layer.key, layer.value))
        values = iter(range(1000))

        def moved(adapter: Adapter = adapter, values=values) -> torch.Tensor:
            return embed_quality(adapter, torch.tensor([[next(values) / 100]])).keys_values

        seconds = side_by_side({"moved": moved}, rounds=3)["moved"]
        kept = moved().nbytes // 4 * dtype.itemsize  # the table is float32 until it is on the device
        rows.append([name, f"{weights / 2**20:.0f} MiB", f"{kept / 2**20:.2f} MiB", f"{seconds:.2f}"])
    return table(["transformer", "weights in the file", "resident while sampling", "slider to K', V', s"], rows)


def _adapter(sites: int, width: int, dtype: torch.dtype) -> Adapter:
    """With as many layers; they repeat four, which no cache holds and the memory does."""
    generator = torch.Generator().manual_seed(0)
    some = [
        LayerWeights(*((torch.randn(width, width, generator=generator) / width**0.5).to(dtype) for _ in range(2)))
        for _ in range(4)
    ]
    projection = QualityProjection(1, TOKENS, width).requires_grad_(False)
    weights = tuple(some[number % 4] for number in range(sites))
    return Adapter("random", Metadata(metrics=({"name": "topiq_nr"},)), projection, weights)
