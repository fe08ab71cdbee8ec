"""Reads the quickstart's own weight files: ``.safetensors`` with facts about the training in the header."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors import safe_open


def read_tensors(file: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Tensors as they are stored, and the header."""
    with safe_open(file, "pt") as opened:
        return {name: opened.get_tensor(name) for name in opened.keys()}, opened.metadata()  # noqa: SIM118


def read_weights(file: Path) -> tuple[dict[str, torch.Tensor], dict]:
    """State dict in float32, and the facts of the header.

    Integers are multiplied by their tensor's entry in the header's ``steps``.
    """
    tensors, header = read_tensors(file)
    steps = json.loads(header.get("steps", "{}"))
    weights = {name: tensor.float() * steps.get(name, 1) for name, tensor in tensors.items()}
    return weights, json.loads(header["quickstart"])
