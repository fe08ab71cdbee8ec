"""Quality tokens -> a patched clone of a ComfyUI model."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from comfy.model_patcher import ModelPatcher
from comfy.patcher_extension import CallbacksMP, WrappersMP
from torch import Tensor

from .attention import PLANS, Plan, QualityAttention
from .layers import CrossAttentionLayer, check_fit, cross_attention_layers
from .projection import QualityTokens
from .sampling import CALL, Chunk, chunks_of, resize_mask, sigma_of, watch

WEIGHTINGS = ("all", "input", "middle", "output", "custom")
CALLBACKS = "iqa_adapter"


def apply_adapter(
    model: ModelPatcher,
    tokens: QualityTokens,
    strength: float = 1.0,
    start_percent: float = 0.0,
    end_percent: float = 1.0,
    mask: Tensor | None = None,
    weighting: str = "all",
    multipliers: str = "",
) -> ModelPatcher:
    """Let a model's cross-attention layers attend to quality tokens.

    Args:
        model: ComfyUI model with a UNet; it stays as it is.
        tokens: of an adapter that fits the model.
        strength: lambda; 0 returns an unpatched clone.
        start_percent, end_percent: part of the sampling in which the tokens act, 0...1.
        mask: ``[height, width]`` or ``[M, height, width]``, 0...1, any size; image i uses mask ``i mod M``.
        weighting, multipliers: see :func:`layer_multipliers`.

    Returns:
        A clone. Its UNet is the same object; K' and V' are the only new tensors.

    Raises:
        ValueError: the adapter does not fit the model, or an argument is out of its range.
    """
    if start_percent > end_percent:
        raise ValueError(f"start_percent ({start_percent:g}) must not be above end_percent ({end_percent:g}).")
    adapter = tokens.adapter
    layers = cross_attention_layers(model.get_model_object("diffusion_model"))
    check_fit(adapter.name, [tuple(layer.key.shape) for layer in adapter.layers], layers)
    strengths = [strength * factor for factor in layer_multipliers(layers, weighting, multipliers)]
    patched = model.clone()
    if not any(strengths):
        return patched
    tokens.keys_values  # noqa: B018  computed now, so that bad weights are reported before sampling starts
    sampling = model.get_model_object("model_sampling")
    application = Application(
        tokens=tokens,
        sigma_start=sampling.percent_to_sigma(start_percent) if start_percent > 0 else float("inf"),
        sigma_end=sampling.percent_to_sigma(end_percent) if end_percent < 1 else 0.0,
        mask=None if mask is None else mask.reshape(-1, *mask.shape[-2:]).float(),
    )
    _install(patched, application, layers, strengths)
    return patched


def layer_multipliers(layers: Sequence[CrossAttentionLayer], weighting: str, multipliers: str = "") -> list[float]:
    """Factor of the strength at every layer.

    Args:
        weighting: ``all`` layers, those of one kind (``input``, ``middle``, ``output``), or ``custom``.
        multipliers: for ``custom``: ``kind=factor`` or ``kind.block=factor``, separated by commas; later entries
            override earlier ones; layers that none names get 0. Example: ``output=1, output.3=0.5, middle=0.2``.

    Raises:
        ValueError: an entry cannot be read or names no layer of this model.
    """
    if weighting not in WEIGHTINGS:
        raise ValueError(f"Layer weighting must be one of {', '.join(WEIGHTINGS)}, not {weighting!r}.")
    if weighting != "custom":
        return [float(weighting in ("all", layer.kind)) for layer in layers]
    factors = [0.0] * len(layers)
    for entry in filter(None, (part.strip() for part in re.split(r"[,\n]", multipliers))):
        match = re.fullmatch(r"(input|middle|output)(?:\.(\d+))?\s*=\s*(-?\d*\.?\d+)", entry)
        named = [
            number
            for number, layer in enumerate(layers)
            if match and layer.kind == match[1] and match[2] in (None, str(layer.block))
        ]
        if not named:
            blocks = sorted({f"{layer.kind}.{layer.block}" for layer in layers})
            raise ValueError(
                f"Layer multiplier {entry!r} names no layer of this model; write kind=factor or kind.block=factor "
                f"with one of {', '.join(blocks)}."
            )
        for number in named:
            factors[number] = float(match[3])
    return factors


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
        first_row = dict(zip(sources, _starts([2 * len(source) for source in sources]), strict=True))
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


def _starts(lengths: list[int]) -> list[int]:
    return [sum(lengths[:number]) for number in range(len(lengths))]


def _install(
    model: ModelPatcher, application: Application, layers: Sequence[CrossAttentionLayer], strengths: Sequence[float]
) -> None:
    starts = _starts([2 * layer.width for layer in layers])
    existing = model.model_options["transformer_options"].get("patches_replace", {}).get("attn2", {})
    for layer, start, strength in zip(layers, starts, strengths, strict=True):
        if strength:
            previous = existing.get(layer.patch_key, existing.get(layer.block_key))
            patch = QualityAttention(application.key, start, layer.width, strength, previous)
            model.set_model_attn2_replace(patch, *layer.patch_key)
    watch(model)
    model.add_wrapper_with_key(WrappersMP.DIFFUSION_MODEL, application.key, application.wrap_forward)
    model.add_callback_with_key(CallbacksMP.ON_CLEANUP, application.key, application.release)
    if not model.get_callbacks(CallbacksMP.ON_CLONE, CALLBACKS):
        model.add_callback_with_key(CallbacksMP.ON_CLONE, CALLBACKS, _own_patches)


def _own_patches(_, clone: ModelPatcher) -> None:
    """Give a cloned model patches of its own (ComfyUI clones share the patch objects)."""
    patches = clone.model_options["transformer_options"].get("patches_replace", {}).get("attn2", {})
    for key, patch in patches.items():
        if isinstance(patch, QualityAttention):
            patches[key] = patch.copy()
