"""Quality tokens -> a patched clone of a ComfyUI model."""

from __future__ import annotations

from collections.abc import Sequence

from comfy.model_patcher import ModelPatcher
from comfy.patcher_extension import CallbacksMP, WrappersMP
from torch import Tensor

from .attention import QualityAttention
from .guider import watch
from .layer_strengths import layer_multipliers
from .rows import Application, starts
from .sites import CrossAttentionLayer, check_fit, cross_attention_layers
from .tokens import QualityTokens

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


def _install(
    model: ModelPatcher, application: Application, layers: Sequence[CrossAttentionLayer], strengths: Sequence[float]
) -> None:
    first = starts([2 * layer.width for layer in layers])
    existing = model.model_options["transformer_options"].get("patches_replace", {}).get("attn2", {})
    for layer, start, strength in zip(layers, first, strengths, strict=True):
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
