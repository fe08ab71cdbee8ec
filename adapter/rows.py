"""Which rows of K', V' the rows of a forward attend to, and what they share."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from .guider import CALL, Chunk, chunks_of, resize_mask, sigma_of
from .tokens import QualityTokens

PLANS = "iqa_adapter_plans"  # key of transformer_options: plan of the current forward by application


@dataclass
class Plan:
    """What all layers of one forward share, worked out before the first of them runs.

    Attributes:
        keys_values: K' and V' of all layers for every row, ``[rows, T, 2 sum(C)]``, on the device, in its dtype.
        mask: ``[rows, height, width]`` weight of the quality tokens over the picture, or None for 1 everywhere.
        resized: the mask at the resolutions asked for so far.
    """

    keys_values: Tensor
    mask: Tensor | None = None
    resized: dict[tuple[int, int], Tensor] = field(default_factory=dict)

    def mask_at(self, size: tuple[int, int]) -> Tensor:
        """Mask of a layer whose activations are ``size`` high and wide: ``[rows, height * width, 1]``"""
        if size not in self.resized:
            self.resized[size] = resize_mask(self.mask, size).flatten(1)[..., None].to(self.keys_values.dtype)
        return self.resized[size]


@dataclass(frozen=True)
class _Layout:
    """Which rows of a table of K', V' the rows of a batch use (None: the table as it is), and their masks."""

    table: Tensor
    rows: Tensor | None
    mask: Tensor | None
    resized: dict

    def plan(self) -> Plan:
        keys_values = self.table if self.rows is None else self.table.index_select(0, self.rows)
        return Plan(keys_values, self.mask, self.resized)


class Application:
    """One Apply node at work: plans every forward of the model it patches.

    Tables and layouts live on the device from the first forward of a sampling run to its end; later forwards with the
    same rows copy nothing.
    """

    def __init__(self, tokens: QualityTokens, sigma_start: float, sigma_end: float, mask: Tensor | None):
        self.key = uuid.uuid4().hex
        self.tokens, self.mask = tokens, mask
        self.sigma_start, self.sigma_end = sigma_start, sigma_end
        self._tables: dict[tuple, Tensor] = {}
        self._layouts: dict[tuple, _Layout] = {}

    def wrap_forward(
        self, executor: Callable, x: Tensor, timesteps, context, y, control, transformer_options: dict, **kwargs
    ) -> Tensor:
        """ComfyUI's ``DIFFUSION_MODEL`` wrapper: the layers find the plan in ``transformer_options[PLANS]``."""
        if self._in_range(transformer_options):
            plans = {**transformer_options.get(PLANS, {}), self.key: self._layout(x, transformer_options).plan()}
            transformer_options = {**transformer_options, PLANS: plans}
        return executor(x, timesteps, context, y, control, transformer_options, **kwargs)

    def release(self, *_) -> None:
        """Free what lies on the device."""
        self._tables.clear()
        self._layouts.clear()

    def resident_bytes(self) -> int:
        """Memory of K' and V' on the device at present."""
        return sum(table.nbytes for table in self._tables.values())

    def _in_range(self, transformer_options: dict) -> bool:
        if self.sigma_start == float("inf") and self.sigma_end == 0.0:
            return True
        return self.sigma_end <= sigma_of(transformer_options) <= self.sigma_start

    def _layout(self, x: Tensor, transformer_options: dict) -> _Layout:
        chunks = [self._with_quality(chunk) for chunk in chunks_of(transformer_options)]
        call = transformer_options.get(CALL)
        images, size = (call.images, call.latent_size) if call else (tuple(range(len(x))), tuple(x.shape[-2:]))
        images = images[: len(x) // len(chunks)]
        key = (tuple(chunks), images, size, tuple(x.shape), x.device, x.dtype)
        if key not in self._layouts:
            self._layouts[key] = self._new_layout(chunks, images, size, x)
        return self._layouts[key]

    def _with_quality(self, chunk: Chunk) -> Chunk:
        """The chunk with tokens: its own if they belong to this adapter, else the model's."""
        own = chunk.quality is not None and chunk.quality.adapter is self.tokens.adapter
        return chunk if own else Chunk(chunk.positive, self.tokens, chunk.area)

    def _new_layout(self, chunks: list[Chunk], images: tuple[int, ...], size: tuple[int, int], x: Tensor) -> _Layout:
        sources = list(dict.fromkeys(chunk.quality for chunk in chunks))
        first_row = dict(zip(sources, starts([2 * len(source) for source in sources]), strict=True))
        rows = [
            first_row[chunk.quality] + len(chunk.quality) * chunk.positive + image % len(chunk.quality)
            for chunk in chunks
            for image in images
        ]
        table = self._table(sources, x)
        same = rows == list(range(len(table)))
        rows_tensor = None if same else torch.tensor(rows, device=x.device)
        return _Layout(table, rows_tensor, self._mask(chunks, images, size, x), {})

    def _table(self, sources: list[QualityTokens], x: Tensor) -> Tensor:
        key = (tuple(sources), x.device, x.dtype)
        if key not in self._tables:
            self._tables[key] = torch.cat([source.keys_values for source in sources]).to(x.device, x.dtype)
        return self._tables[key]

    def _mask(self, chunks: list[Chunk], images: tuple[int, ...], size: tuple[int, int], x: Tensor) -> Tensor | None:
        """``[rows, height, width]`` of the forward's latent: each chunk sees the mask's part in its area."""
        if self.mask is None:
            return None
        whole = resize_mask(self.mask, size)[[image % len(self.mask) for image in images]]
        parts = []
        for chunk in chunks:
            _, _, top, left = chunk.area or (*size, 0, 0)
            parts.append(whole[:, top : top + x.shape[-2], left : left + x.shape[-1]])
        return torch.cat(parts).to(x.device)


def starts(lengths: list[int]) -> list[int]:
    return [sum(lengths[:number]) for number in range(len(lengths))]
