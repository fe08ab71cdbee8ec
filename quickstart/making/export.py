"""Trained weights as ``.safetensors`` with facts about the training in the header.

Matrices and convolutions of the base model and the reader are bytes with a scale for each output channel; the base's
layers of the highest resolution, which decide grain and edges, are float16. Adapters are float16, in multiples of a
power of two for each tensor: git packs them to half their size.
"""

from __future__ import annotations

import json
import math
from pathlib import Path

import torch

from ...files import write_tensors
from ..weights_file import SCALE, read_named_tensors

ROUNDING = 0.045  # largest rounding error (root mean square) of adapters, in standard deviations of a tensor
DETAIL = tuple(f"unet.{block}." for block in ("input_blocks.0", "input_blocks.1", "input_blocks.2", "input_blocks.3",
               "output_blocks.6", "output_blocks.7", "output_blocks.8", "out"))  # fmt: skip


def rounded(weights: dict[str, torch.Tensor], error: float) -> dict[str, torch.Tensor]:
    """Matrices and convolutions as multiples of a power of two; biases and norms as they are, with 0 all of them."""
    if not error:
        return weights
    steps = {name: _step(weight.float().std().item(), error) for name, weight in weights.items() if weight.ndim > 1}
    return {**weights, **{name: (weights[name].float() / step).round() * step for name, step in steps.items()}}


def _step(deviation: float, error: float) -> float:
    """Power of two whose rounding, uniform, has at most ``error`` times the standard deviation."""
    return 2.0 ** math.floor(math.log2(deviation * error * math.sqrt(12)))


def export(source: Path, target: Path, error: float) -> None:
    """Write a file's weights in half precision and with its header; ``error`` as in :func:`rounded`."""
    weights, header = read_named_tensors(source)
    write_tensors(target, halved(rounded(weights, error)), header)


def export_as_bytes(source: Path, target: Path) -> None:
    """Write matrices and convolutions as int8 with ``NAME.scale``, what each output channel is to be multiplied by."""
    weights, header = read_named_tensors(source)
    coarse = {name: weight for name, weight in weights.items() if weight.ndim > 1 and not name.startswith(DETAIL)}
    stored = {name: weight for name, weight in halved(weights).items() if name not in coarse}
    for name, weight in coarse.items():
        rows = weight.float().flatten(1)
        scale = (rows.abs().amax(1) / 127).clamp_min(2**-24).half()
        integers = (rows / scale.float()[:, None]).round().clamp(-127, 127)
        stored |= {name: integers.to(torch.int8).view(weight.shape), name + SCALE: scale}
    write_tensors(target, stored, header)


def write_weights(file: Path, weights: dict[str, torch.Tensor], facts: dict) -> None:
    """Write a state dict in half precision; ``facts`` (JSON) go into the header as ``quickstart``."""
    write_tensors(file, halved(weights), {"quickstart": json.dumps(facts)})


def halved(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The same in half precision."""
    return {name: weight.detach().half() for name, weight in weights.items()}
