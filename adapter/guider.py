"""Who is who in a batch: what the guider knows about its rows, carried to the UNet.

A UNet sees rows, and ``cond_or_uncond`` tells only their position in the guider's call, which differs from guider to
guider. The names that the guider gave its conditionings ("positive", "negative", ...) do tell. ComfyUI marks each
conditioning with a uuid; two wrappers note whose uuid is whose, once per sampling run, and what each position of a
call means, once per call.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from comfy.model_patcher import ModelPatcher
from comfy.patcher_extension import WrappersMP
from torch import Tensor

from .tokens import QualityTokens

CALL = "iqa_adapter_call"  # keys of transformer_options
NAMES = "iqa_adapter_conditioning_names"
QUALITY = "iqa_quality"  # key of a conditioning that carries its own QualityTokens
NEGATIVE_WORDS = ("negative", "empty", "uncond")


@dataclass(frozen=True)
class Chunk:
    """Rows of a batch that belong to one conditioning, one per image.

    Attributes:
        positive: it is one that the guidance moves towards.
        quality: tokens of its own, or None for the model's.
        area: ``(height, width, y, x)`` of its part of the latent, or None for the whole.
    """

    positive: bool = True
    quality: QualityTokens | None = None
    area: tuple[int, int, int, int] | None = None


@dataclass(frozen=True)
class GuiderCall:
    """One call of ``calc_cond_batch``.

    Attributes:
        conds: the lists of conditionings it was called with.
        positive: per list, whether the guidance moves towards it.
        images: numbers of the rows' images in the whole batch (a context window holds some of them).
        latent_size: height and width of the latent, of which a conditioning with an area sees a part.
        sigma: the noise level.
    """

    conds: list
    positive: tuple[bool, ...]
    images: tuple[int, ...]
    latent_size: tuple[int, int]
    sigma: float

    def chunk(self, position: int, uuid) -> Chunk:
        """The rows of the conditioning ``uuid`` in the list at ``position``."""
        cond = next((cond for cond in self.conds[position] or () if cond.get("uuid") == uuid), {})
        area = cond.get("area")
        return Chunk(self.positive[position], cond.get(QUALITY), None if area is None else tuple(area))


def watch(model: ModelPatcher) -> None:
    """Let the forwards of ``model`` know what the guider knows. Watching twice is watching once."""
    for kind, wrapper in ((WrappersMP.OUTER_SAMPLE, _note_names), (WrappersMP.CALC_COND_BATCH, _note_call)):
        if not model.get_wrappers(kind, CALL):
            model.add_wrapper_with_key(kind, CALL, wrapper)


def chunks_of(transformer_options: dict) -> list[Chunk]:
    """The chunks of the current forward, in the order of its rows.

    Outside a guider's call, ``cond_or_uncond`` is taken at its word (0 is positive); without it all rows are positive.
    """
    call: GuiderCall | None = transformer_options.get(CALL)
    positions = transformer_options.get("cond_or_uncond", [0])
    if call is None:
        return [Chunk(positive=position == 0) for position in positions]
    return [call.chunk(*which) for which in zip(positions, transformer_options["uuids"], strict=True)]


def sigma_of(transformer_options: dict) -> float:
    """Noise level of the current forward; reads a tensor only outside a guider's call."""
    call: GuiderCall | None = transformer_options.get(CALL)
    return call.sigma if call else float(transformer_options["sigmas"][0])


def _note_names(executor: Callable, *args, **kwargs):
    guider = executor.class_obj
    names = {cond["uuid"]: name for name, conds in guider.original_conds.items() for cond in conds}
    guider.model_options.setdefault("transformer_options", {})[NAMES] = names
    return executor(*args, **kwargs)


def _note_call(executor: Callable, model, conds: list, x: Tensor, timestep: Tensor, model_options: dict):
    options = model_options.get("transformer_options", {})
    names = options.get(NAMES, {})
    call = GuiderCall(
        conds=conds,
        positive=tuple(_is_positive(position, cond, names) for position, cond in enumerate(conds)),
        images=_images(options, len(x)),
        latent_size=tuple(x.shape[-2:]),
        sigma=float(timestep.flatten()[0]),
    )
    model_options = {**model_options, "transformer_options": {**options, CALL: call}}
    return executor(model, conds, x, timestep, model_options)


def _is_positive(position: int, conds: list | None, names: dict) -> bool:
    """By the name of the list's first conditioning: ComfyUI appends copies of other lists' conditionings (areas)."""
    name = names.get(conds[0].get("uuid")) if conds else None
    if name is None:
        return position == 0
    return not any(word in name for word in NEGATIVE_WORDS)


def _images(options: dict, count: int) -> tuple[int, ...]:
    """Image numbers of a call: those of ComfyUI's or AnimateDiff-Evolved's context window, else 0, 1, 2, ..."""
    window = options.get("context_window")
    if window is not None and window.dim == 0:
        anchor = getattr(window, "causal_anchor_index", None)  # newer ComfyUI may put the frame before in front
        shown = [*([] if anchor is None else [anchor]), *window.index_list]
        if len(shown) == count:
            return tuple(shown)
    frames = (options.get("ad_params") or {}).get("sub_idxs")
    return tuple(range(count) if frames is None else frames)


def uses_quality(conditioning: list, tokens: QualityTokens) -> list:
    """ComfyUI conditioning ``[[embedding, options], ...]`` with quality tokens of its own."""
    return [[embedding, {**options, QUALITY: tokens}] for embedding, options in conditioning]


def resize_mask(mask: Tensor, size: tuple[int, int]) -> Tensor:
    """``[M, height, width]`` -> ``[M, *size]``, antialiased."""
    if tuple(mask.shape[-2:]) == tuple(size):
        return mask
    return torch.nn.functional.interpolate(mask[:, None], size=size, mode="bilinear", antialias=True)[:, 0]
