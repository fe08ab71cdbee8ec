"""Trained weights as float16 ``.safetensors`` with facts about the training in the header.

Exported weights of base model and adapters are multiples of a power of two, one for each tensor: git packs them
to half their size. The base's layers of the highest resolution, a tenth of all weights, decide grain and edges and are
rounded less. The reader's are bytes, to be multiplied by a power of two.
"""

from __future__ import annotations

import json
import math
from pathlib import Path

import torch

from ...files import write_tensors
from ..weights_file import read_named_tensors

# largest rounding error (root mean square), in standard deviations of a tensor
ROUNDING, ROUNDING_OF_DETAIL = 0.045, 0.005
DETAIL = tuple(f"unet.{block}." for block in ("input_blocks.0", "input_blocks.1", "input_blocks.2",
               "output_blocks.3.2", "output_blocks.4", "output_blocks.5", "out"))  # fmt: skip


def rounded(weights: dict[str, torch.Tensor], error: float = ROUNDING) -> dict[str, torch.Tensor]:
    """Matrices and convolutions as multiples of a power of two; biases and norms as they are, with 0 all of them."""
    if not error:
        return weights
    steps = {
        name: _step(weight.float().std().item(), ROUNDING_OF_DETAIL if name.startswith(DETAIL) else error)
        for name, weight in weights.items()
        if weight.ndim > 1
    }
    return {**weights, **{name: (weights[name].float() / step).round() * step for name, step in steps.items()}}


def _step(deviation: float, error: float) -> float:
    """Power of two whose rounding, uniform, has at most ``error`` times the standard deviation."""
    return 2.0 ** math.floor(math.log2(deviation * error * math.sqrt(12)))


def export(source: Path, target: Path, error: float) -> None:
    """Write a file's weights in half precision and with its header; ``error`` as in :func:`rounded`."""
    weights, header = read_named_tensors(source)
    write_tensors(target, halved(rounded(weights, error)), header)


def export_as_bytes(source: Path, target: Path) -> None:
    """Write matrices and convolutions as int8; what each is to be multiplied by is in the header's ``steps``."""
    weights, header = read_named_tensors(source)
    largest = {name: weight.abs().max().item() for name, weight in weights.items() if weight.ndim > 1}
    steps = {name: 2.0 ** math.ceil(math.log2(value / 127)) for name, value in largest.items()}
    integers = {name: (weights[name].float() / step).round().to(torch.int8) for name, step in steps.items()}
    write_tensors(target, {**halved(weights), **integers}, {**header, "steps": json.dumps(steps)})


def write_weights(file: Path, weights: dict[str, torch.Tensor], facts: dict) -> None:
    """Write a state dict in half precision; ``facts`` (JSON) go into the header as ``quickstart``."""
    write_tensors(file, halved(weights), {"quickstart": json.dumps(facts)})


def halved(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The same in half precision."""
    return {name: weight.detach().half() for name, weight in weights.items()}
