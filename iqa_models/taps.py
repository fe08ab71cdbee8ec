"""Feature layers that pyiqa's nets compute, but not as the output of a module, made readable by ordinary hooks.

A tap is an ``nn.Identity`` at the top of the net through which the activations pass unchanged on their way.
"""

from __future__ import annotations

import torch
from torch import nn

SUFFIX = "_input"
CONTENT_VECTOR = "content_vector"


def add_tap(net: nn.Module, name: str) -> None:
    """Make a pseudo-layer a module of the net; names of real modules are left alone.

    Args:
        net: one of pyiqa's architectures.
        name: ``HEAD_input``, what the net's module ``HEAD`` gets; or ``content_vector``, HyperIQA's target input
            (Su et al., CVPR 2020), of which four modules compute a piece each, one after the other.
    """
    if name == CONTENT_VECTOR:
        _join(net, name, net.lda_modules)
    elif name.endswith(SUFFIX):
        tap = nn.Identity()
        net.get_submodule(name.removesuffix(SUFFIX)).register_forward_pre_hook(lambda head, inputs: tap(*inputs))
        net.add_module(name, tap)


def _join(net: nn.Module, name: str, modules: nn.ModuleList) -> None:
    tap, pieces = nn.Identity(), []

    def collect(module: nn.Module, inputs: tuple, output: torch.Tensor) -> None:
        pieces.append(output)
        if len(pieces) == len(modules):
            tap(torch.cat(pieces, dim=1))
            pieces.clear()

    for module in modules:
        module.register_forward_hook(collect)
    net.add_module(name, tap)
