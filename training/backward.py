"""Whether gradients pass through the layers of a frozen model, before any work."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from comfy.model_patcher import ModelPatcher
from torch import Tensor, nn

from ..inference_mode import leave_inference_mode
from .forward import differentiable


def check_backward(patcher: ModelPatcher) -> None:
    """Try one linear layer of each kind whose weights are no plain numbers: fp8, GGUF and other quantised ones.

    The nodes that load them bring the forward, and some have no backward pass, or one that loses the gradient.

    Raises:
        ValueError: no gradient comes back through a kind of layer; the message names it.
    """
    model, device = patcher.get_model_object("diffusion_model"), patcher.load_device
    for name, layer in _kinds(model):
        before = layer.weight.device
        try:
            leave_inference_mode(layer.to(device))
            with differentiable(model):
                why = _problem(layer, device)
        finally:
            layer.to(before)
        if why:
            raise ValueError(
                f"No gradient passes through {name} of the connected model, {_described(layer)} ({why}), so no "
                "adapter can learn there. Load the model in 16 bits, as GGUF, or in fp8 without fast matrix products."
            )


def _kinds(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """A layer of each kind, with its name."""
    seen = set()
    for name, module in model.named_modules():
        weight = getattr(module, "weight", None)
        if not (hasattr(module, "in_features") and isinstance(weight, Tensor)):
            continue
        kind = type(module), type(weight), weight.dtype
        is_plain = kind[1] in (Tensor, nn.Parameter) and weight.is_floating_point() and weight.itemsize > 1
        if not is_plain and kind not in seen:
            seen.add(kind)
            yield name, module


def _problem(layer: nn.Module, device: torch.device) -> str:
    """Why nothing comes back through a layer; empty if something does."""
    dtype = torch.float32 if device.type == "cpu" else torch.bfloat16
    inputs = torch.ones(1, 2, layer.in_features, device=device, dtype=dtype, requires_grad=True)
    try:
        outputs = layer(1 * inputs)
        if outputs.requires_grad:
            outputs.float().square().sum().backward()
    except (RuntimeError, TypeError) as error:  # whatever it raises
        return str(error).strip().partition("\n")[0]
    if inputs.grad is None or not inputs.grad.any():
        return "the gradient is lost"
    return ""


def _described(layer: nn.Module) -> str:
    weight = layer.weight
    kind = "" if type(weight) in (Tensor, nn.Parameter) else f" {type(weight).__name__}"
    return f"{type(layer).__qualname__.replace('.<locals>', '')} with{kind} weights of {weight.dtype}"
