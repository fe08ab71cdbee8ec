"""Reads the quickstart's own weight files: ``.safetensors`` with facts about the training in the header."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from ..files import Finite, WrongFile, parse_json, read_tensors, shown

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

    Integers are multiplied by their tensor's entry in the header's ``steps``.

    Raises:
        FileNotFoundError: no such file.
        WrongFile: it is damaged or something else.
    """
    tensors, header = read_named_tensors(file)
    if 4 * sum(tensor.numel() for tensor in tensors.values()) > 2 * file.stat().st_size + ROOM:
        raise WrongFile(f"{shown(file)} is too large for weights of the quickstart. Get the right file.")
    steps = parse_json(header.get("steps", "{}"), dict[str, Finite], file)
    weights = {name: tensor.float() * steps.get(name, 1) for name, tensor in tensors.items()}
    return weights, parse_json(header.get("quickstart", "{}"), dict[str, Any], file)
