"""The net of a metric, with its weights: this pack's own, or pyiqa's architecture (:mod:`.pyiqa_nets`)."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import nn

from ..files import WrongFile, shown
from . import catalogue, taps, weights
from .own_random import OwnRandomNumbers


def build(metric: str, files: Mapping[str, Path], tap: str = "") -> nn.Module:
    """The architecture of a metric in evaluation mode, in float32 on the CPU, without gradients of its weights.

    Nothing outside the net is changed or used while it is made, neither PyTorch's functions nor its random numbers, so
    that other threads can go on.

    Args:
        metric: a name of the catalogue.
        files: where the metric's weight files are, by file name. What is not named keeps its initial weights.
        tap: feature layer that hooks shall reach (see :mod:`.taps`).

    Raises:
        ValueError: a file is damaged, unsafe, or does not hold exactly what the architecture needs; or the installed
            pyiqa has no such metric.
        ImportError: the metric is pyiqa's, and pyiqa or what it needs cannot be imported.
    """
    entry = catalogue.find(metric)
    # a graph runs in inference mode, whose tensors (pyiqa keeps some that are no parameters) allow no gradient guidance
    with OwnRandomNumbers(), torch.inference_mode(False), torch.no_grad():
        try:
            net = _own(entry, files) if entry.module else _of_pyiqa(entry, files)
        except (WrongFile, catalogue.NotInstalled):
            raise
        except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
            if not files:
                raise
            names = ", ".join(shown(path) for path in files.values())
            reason = shown((str(error) or type(error).__name__).splitlines()[-1].strip())
            raise ValueError(f"{names} does not hold the weights of {metric}: {reason}") from error
    taps.add_tap(net, tap)
    return net.eval().requires_grad_(False)


def _own(entry: catalogue.Entry, files: Mapping[str, Path]) -> nn.Module:
    net = importlib.import_module(f".{entry.module}", __package__).net()
    for path in files.values():
        net.load_state_dict(weights.state_dict(weights.read(path), path))
    return net


def _of_pyiqa(entry: catalogue.Entry, files: Mapping[str, Path]) -> nn.Module:
    from . import pyiqa_nets  # takes seconds, and pyiqa may not be there

    return pyiqa_nets.build(entry, files)
