"""Weights that ComfyUI loaded while a graph ran, for use in a backward pass."""

from __future__ import annotations

from torch import nn


def leave_inference_mode(model: nn.Module) -> None:
    """Put copies in place of inference tensors, which PyTorch does not let into a backward pass; in place.

    ComfyUI runs graphs in ``torch.inference_mode``; call this outside of it.
    """
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            if parameter.is_inference():
                setattr(module, name, nn.Parameter(parameter.clone(), requires_grad=False))
        for name, buffer in module.named_buffers(recurse=False):
            if buffer.is_inference():
                setattr(module, name, buffer.clone())
