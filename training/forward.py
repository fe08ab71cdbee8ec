"""What a forward needs so that gradients flow back through it: ComfyUI's models are written for inference."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import comfy.model_management
import comfy.quant_ops
import torch
from comfy.ldm.modules.attention import SpatialTransformer, attention_pytorch
from comfy.ldm.modules.diffusionmodules.openaimodel import ResBlock
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ..adapter.sites import sites
from ..adapter.transformer_forward import hooked
from ..adapter.transformer_sites import TransformerSite


@contextmanager
def differentiable(model: nn.Module) -> Iterator[None]:
    """Within, a diffusion model computes what has a backward pass.

    Flux adds to its streams in place, which overwrites what the backward pass of the norms before it needs; so they get
    copies. Newer ComfyUI has kernels without backward pass, unless it knows that it trains.
    """
    norms = [module for module in model.modules() if isinstance(module, nn.LayerNorm)] if _is_transformer(model) else []
    handles = [norm.register_forward_pre_hook(_copied) for norm in norms]
    kernels = getattr(comfy.quant_ops, "ck", None)
    with ExitStack() as changed:
        changed.enter_context(_set(comfy.model_management, "in_training", True))
        if hasattr(kernels, "rms_rope_split_half"):  # Predict2 and Anima take it in training, too
            changed.enter_context(_set(kernels, "rms_rope_split_half", _rms_rope_split_half))
        for handle in handles:
            changed.callback(handle.remove)
        yield


@contextmanager
def _set(holder: object, name: str, value: object) -> Iterator[None]:
    before = getattr(holder, name, None)
    setattr(holder, name, value)
    try:
        yield
    finally:
        setattr(holder, name, before)


def _rms_rope_split_half(
    q: Tensor, k: Tensor, rotation: Tensor, q_scale: Tensor, k_scale: Tensor, epsilon: float
) -> tuple[Tensor, ...]:
    """q and k ``[..., width]``, each normed and then rotated: the first half of the width with the second.

    Args:
        rotation: ``[..., width / 2, 2, 2]``
    """

    def rotated(x: Tensor, scale: Tensor) -> Tensor:
        pairs = torch.nn.functional.rms_norm(x, scale.shape, scale, epsilon).unflatten(-1, (2, -1)).mT[..., None, :]
        turned = rotation[..., 0] * pairs[..., 0] + rotation[..., 1] * pairs[..., 1]
        return turned.mT.flatten(-2).to(x.dtype)

    return rotated(q, q_scale), rotated(k, k_scale)


def _copied(_norm: nn.Module, arguments: tuple) -> tuple:
    stream, *others = arguments
    return (stream.clone() if stream.requires_grad else stream, *others)


def differentiable_attention(_chosen: Callable, *args, **kwargs) -> Tensor:
    """PyTorch's attention in place of the chosen one, which may have no backward pass (SageAttention)."""
    return attention_pytorch(*args, **kwargs)


@contextmanager
def recomputed_blocks(unet: nn.Module) -> Iterator[None]:
    """Within, residual and transformer blocks keep only their inputs for the backward pass (gradient checkpointing)."""
    blocks = _blocks(unet)
    for block in blocks:
        block.forward = _recomputing(block.forward)
    modules = [site.module for site in sites(unet) if isinstance(site, TransformerSite)]
    try:
        with hooked(modules), differentiable(unet):  # when a block runs again, its forward is over
            yield
    finally:
        for block in blocks:
            del block.forward


def _blocks(unet: nn.Module) -> list[nn.Module]:
    if not _is_transformer(unet):
        return [module for module in unet.modules() if isinstance(module, (ResBlock, SpatialTransformer))]
    places = {site.module for site in sites(unet)}
    lists = [module for module in unet.modules() if isinstance(module, nn.ModuleList)]
    return [block for blocks in lists for block in blocks if places.intersection(block.modules())]


def _is_transformer(model: nn.Module) -> bool:
    return isinstance(sites(model)[0], TransformerSite)


def _recomputing(forward: Callable) -> Callable:
    def anew(*args, **kwargs):
        # Blocks change options and streams in place; the second run must find those of the first.
        return forward(*map(_own, args), **{name: _own(value) for name, value in kwargs.items()})

    def wrapped(*args, **kwargs):
        args, kwargs = tuple(map(_own_options, args)), {name: _own_options(arg) for name, arg in kwargs.items()}
        return checkpoint(anew, *args, use_reentrant=False, **kwargs)

    return wrapped


def _own_options(value: object) -> object:
    return dict(value) if isinstance(value, dict) else value


def _own(value: object) -> object:
    return value.clone() if isinstance(value, Tensor) else _own_options(value)
