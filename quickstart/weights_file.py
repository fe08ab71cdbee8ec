"""Reads the quickstart's own weight files: ``.safetensors`` with facts about the training in the header."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from ..files import WrongFile, parse_json, read_tensors, shown

SCALE = ".scale"
ROOM = 2**26  # bytes that weights may take beside twice those of the file: stored as bytes they are four times as large


def read_named_tensors(file: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Tensors as they are stored, and the header.

    Raises:
        FileNotFoundError: no such file.
        WrongFile: it is damaged or something else.
    """
    content, header = read_tensors(file)
    named = isinstance(content, dict) and all(isinstance(name, str) for name in content)
    if not named or not content or not all(isinstance(value, torch.Tensor) for value in content.values()):
        raise WrongFile(f"{shown(file)} holds no dictionary of tensors. Get the right file of that name.")
    return content, header


def read_weights(file: Path) -> tuple[dict[str, torch.Tensor], dict]:
    """State dict in float32, and the facts of the header.

    Integers are multiplied by ``NAME.scale``, one value for each output channel.

    Raises:
        FileNotFoundError: no such file.
        WrongFile: it is damaged or something else.
    """
    tensors, header = read_named_tensors(file)
    if 4 * sum(tensor.numel() for tensor in tensors.values()) > 2 * file.stat().st_size + ROOM:
        raise WrongFile(f"{shown(file)} is too large for weights of the quickstart. Get the right file.")
    weights = {name: tensor.float() for name, tensor in tensors.items() if not name.endswith(SCALE)}
    for name in weights.keys() & {name.removesuffix(SCALE) for name in tensors if name.endswith(SCALE)}:
        scale = tensors[name + SCALE].float()
        if scale.shape != weights[name].shape[:1]:
            raise WrongFile(f"{shown(file)} is damaged: the scale of {name} does not fit it. Get the file again.")
        weights[name] *= scale.view(-1, *[1] * (weights[name].ndim - 1))
    return weights, parse_json(header.get("quickstart", "{}"), dict[str, Any], file)
