"""A prediction of ComfyUI with a graph, so that a gradient can be carried back through the diffusion model."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import torch
from comfy.ldm.modules.attention import attention_pytorch
from comfy.model_base import BaseModel
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ..adapter.call import RUN
from ..inference_mode import leave_inference_mode

CONTAINERS = (nn.ModuleList, nn.ModuleDict, nn.Sequential)


@contextlib.contextmanager
def out_of_inference(*modules: nn.Module) -> Iterator[None]:
    """Gradients inside ComfyUI's inference mode, by inputs only, through modules that it has loaded there.

    Raises:
        ValueError: another node has put a tensor into the graph that PyTorch does not let into a backward pass.
    """
    with torch.inference_mode(False), torch.enable_grad():
        for module in dict.fromkeys(modules):
            module.requires_grad_(False)
            leave_inference_mode(module)
        try:
            yield
        except RuntimeError as error:
            if "nference tensor" not in str(error):
                raise
            raise ValueError(
                "Another node changes the model with tensors that have no gradient; set route of IQA Gradient "
                "Guidance to prediction, or take that node out."
            ) from error


def differentiable(model_options: dict) -> dict:
    """Options with PyTorch's attention in place of a chosen one, which may have no backward pass (SageAttention)."""
    options = model_options.get("transformer_options", {})
    return {**model_options, "transformer_options": {**options, "optimized_attention_override": _attention}}


@contextlib.contextmanager
def prediction_with_gradient(model: BaseModel, model_options: dict, checkpointing: bool) -> Iterator[None]:
    """Make ready what a forward uses: K', V' of adapters outside of inference mode, blocks that forget activations.

    Args:
        checkpointing: every block keeps its input only, and is computed again in the backward pass.
    """
    if (run := model_options.get("transformer_options", {}).get(RUN)) is not None:
        run.let_go()  # tables that were made in inference mode; they are made anew
    blocks = list(_blocks(model.diffusion_model)) if checkpointing else []
    for block in blocks:
        block.forward = _forgetting(block.forward)
    try:
        yield
    finally:
        for block in blocks:
            del block.forward


def _attention(_chosen: Callable, *args, **kwargs) -> Tensor:
    return attention_pytorch(*args, **kwargs)


def _blocks(module: nn.Module) -> Iterator[nn.Module]:
    """The largest parts that are called as a whole."""
    for child in module.children():
        if isinstance(child, CONTAINERS):
            yield from _blocks(child)
        else:
            yield child


def _forgetting(forward: Callable) -> Callable:
    def forgetting(*args, **kwargs):
        """ComfyUI changes a forward's options from block to block; this block gets them again as they are now."""
        now = [dict(each) if isinstance(each, dict) else each for each in args]
        named = {name: dict(each) if isinstance(each, dict) else each for name, each in kwargs.items()}
        return checkpoint(forward, *now, use_reentrant=False, preserve_rng_state=False, **named)

    return forgetting
