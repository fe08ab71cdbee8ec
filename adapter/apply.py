"""Quality tokens -> a patched clone of a ComfyUI model."""

from __future__ import annotations

from comfy.model_patcher import ModelPatcher
from torch import Tensor

from .application import APPLICATIONS, Application
from .guider import watch
from .layer_strengths import layer_multipliers
from .sites import check_fit, sites
from .tokens import QualityTokens


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
    """Let a model's attention layers attend to quality tokens.

    Args:
        model: ComfyUI model, a UNet or a transformer; it stays as it is.
        tokens: of an adapter that fits the model.
        strength: lambda; 0 returns an unpatched clone.
        start_percent, end_percent: part of the sampling in which the tokens act, 0...1.
        mask: ``[height, width]`` or ``[M, height, width]``, 0...1, any size; image i uses mask ``i mod M``.
        weighting, multipliers: see :func:`.layer_strengths.layer_multipliers`.

    Returns:
        A clone. Its diffusion model is the same object; K' and V' are the only new tensors.

    Raises:
        ValueError: the adapter does not fit the model, or an argument is out of its range.
    """
    if start_percent > end_percent:
        raise ValueError(f"start_percent ({start_percent:g}) must not be above end_percent ({end_percent:g}).")
    tokens, strength = tokens.at(strength)
    adapter = tokens.adapter
    found = sites(model.get_model_object("diffusion_model"))
    check_fit(adapter.name, adapter.shapes, found, adapter.metadata.base_model)
    strengths = tuple(strength * factor for factor in layer_multipliers(found, weighting, multipliers))
    patched = model.clone()
    if not any(strengths):
        return patched
    tokens.keys_values  # noqa: B018  computed now, so that bad weights are reported before sampling starts
    mask = None if mask is None else mask.reshape(-1, *mask.shape[-2:]).float()
    application = Application(tokens, found, strengths, start_percent, end_percent, mask)
    options = patched.model_options["transformer_options"]
    options[APPLICATIONS] = (*options.get(APPLICATIONS, ()), application)
    watch(patched)
    return patched
