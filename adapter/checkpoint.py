"""Adapter files: every known layout in, one layout out. No code of a pickle ever runs.

Layouts (key prefixes): released ``image_proj.`` / ``ip_adapter.{i}.`` as ``.safetensors`` or ``.bin`` (there nested
dicts); raw training states ``qual_proj_model.`` / ``adapter_modules.{i}.``, whose ``unet.`` beside them is
not read; ours, the released keys with a JSON header (:mod:`.metadata`). ``i`` counts all attention processors of the
diffusers UNet, so cross-attention layers have odd ``i``.
"""

from __future__ import annotations

import dataclasses
import os
import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path

import safetensors
import torch
from safetensors.torch import save_file
from torch import Tensor

from .adapter import Adapter, LayerWeights
from .metadata import HEADER_KEY, Metadata
from .projection import QualityEncoding, QualityProjection

PREFIXES = {"qual_proj_model.": "image_proj.", "adapter_modules.": "ip_adapter."}
KEY, VALUE = "to_k_ip.weight", "to_v_ip.weight"


def load_adapter(path: str | Path, bare: Metadata | None = None) -> Adapter:
    """Read an adapter file of any layout.

    Layer weights stay memory-mapped; at most one copy of the file is in memory.

    Args:
        path: ``.safetensors`` or ``.bin``.
        bare: description of a file that carries none. Its flag and positional encoding need not be given: they follow
            from the projection's width.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not an adapter, truncated, unsafe, incomplete, or without metadata where none was given. One
            sentence that says which.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"There is no adapter file {path.name}; put it into ComfyUI's models/iqa_adapter/.")
    state, header = _read(path)
    projection = _projection(state, path.name)
    layers = _layers(state, projection.width, path.name)
    if HEADER_KEY in header:
        metadata = Metadata.from_json(header[HEADER_KEY])
    else:
        metadata = _describe(bare, projection.inputs, path.name)
    return Adapter(path.name, metadata, projection, layers)


def save_adapter(adapter: Adapter, path: str | Path, dtype: torch.dtype | None = None) -> None:
    """Write our layout, through a temporary file that is renamed when it is complete.

    Args:
        dtype: of the weights in the file; None keeps each as it is.
    """
    path = Path(path)
    state = {f"image_proj.{key}": value for key, value in adapter.projection.state_dict().items()}
    for number, layer in enumerate(adapter.layers):
        state[f"ip_adapter.{2 * number + 1}.{KEY}"] = layer.key
        state[f"ip_adapter.{2 * number + 1}.{VALUE}"] = layer.value
    state = {key: value.detach().to(dtype or value.dtype).contiguous() for key, value in state.items()}
    partial = path.with_name(path.name + ".part")
    save_file(state, partial, metadata={HEADER_KEY: adapter.metadata.to_json()})
    os.replace(partial, path)


def infer_encoding(inputs: int, quality_width: int) -> tuple[bool, int]:
    """Flag and octaves with which ``quality_width`` values become ``inputs``, the training script's defaults first.

    Raises:
        ValueError: no encoding does.
    """
    for octaves in (0, 10, *range(1, 10), *range(11, 33)):
        for use_flag in (False, True) if octaves == 0 else (True, False):
            if QualityEncoding(use_flag, octaves).width(quality_width) == inputs:
                return use_flag, octaves
    raise ValueError(f"no encoding turns {quality_width} quality values into {inputs}")


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Adapter tensors by released key, and the file's header."""
    if path.suffix == ".safetensors":
        try:
            with safetensors.safe_open(path, framework="pt") as file:
                names = {name: released for name in file.keys() if (released := _released_key(name))}  # noqa: SIM118
                return {released: file.get_tensor(name) for name, released in names.items()}, file.metadata() or {}
        except safetensors.SafetensorError as error:
            raise ValueError(f"{path.name} is truncated or not a safetensors file ({error}).") from error
    flat = _flatten(_read_pickle(path))
    return {released: tensor for name, tensor in flat.items() if (released := _released_key(name))}, {}


def _read_pickle(path: Path) -> dict:
    try:
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except pickle.UnpicklingError as error:
        raise ValueError(
            f"{path.name} was refused: it holds more than tensors (a pickle that may run code) or is no PyTorch file. "
            "Convert it to .safetensors where you trust it, or ask its author to."
        ) from error
    except (RuntimeError, EOFError, OSError) as error:
        raise ValueError(f"{path.name} is truncated or not a PyTorch file.") from error
    if not isinstance(state, dict):
        raise ValueError(f"{path.name} holds no dictionary of tensors, so it is no IQA-Adapter.")
    return state


def _flatten(state: Mapping, prefix: str = "") -> dict[str, Tensor]:
    flat = {}
    for key, value in state.items():
        if isinstance(value, Mapping):
            flat |= _flatten(value, f"{prefix}{key}.")
        elif isinstance(value, Tensor):
            flat[f"{prefix}{key}"] = value
    return flat


def _released_key(name: str) -> str | None:
    """The released name of a tensor, or None for one that is not the adapter's."""
    name = name.removeprefix("module.")
    for prefix, released in PREFIXES.items():
        if name.startswith(prefix):
            return released + name.removeprefix(prefix)
    return name if name.startswith(tuple(PREFIXES.values())) else None


def _projection(state: dict[str, Tensor], name: str) -> QualityProjection:
    weights = {key.removeprefix("image_proj."): value for key, value in state.items() if key.startswith("image_proj.")}
    mlp = "proj.2.weight" in weights
    first, last = ("proj.0.weight", "proj.2.weight") if mlp else ("proj.weight", "proj.weight")
    if missing := [key for key in (first, last, "norm.weight") if key not in weights]:
        raise ValueError(
            f"{name} is no IQA-Adapter: image_proj.{missing[0]} is missing. An IP-Adapter, LoRA or checkpoint file "
            "cannot be used here."
        )
    width = len(weights["norm.weight"])
    tokens, rest = divmod(len(weights[last]), width)
    if rest or not tokens or weights[first].ndim != 2:
        raise ValueError(
            f"{name}: image_proj.{last} {tuple(weights[last].shape)} does not fit image_proj.norm.weight ({width},)."
        )
    projection = QualityProjection(weights[first].shape[1], tokens, width, len(weights[first]) if mlp else 0)
    try:
        projection.load_state_dict({key: value.float() for key, value in weights.items()})
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"{name}: its quality projection is incomplete or misshapen. {reason}") from error
    return projection.requires_grad_(False).eval()


def _layers(state: dict[str, Tensor], width: int, name: str) -> tuple[LayerWeights, ...]:
    numbers = {int(key.split(".")[1]) for key in state if key.startswith("ip_adapter.")}
    if not numbers:
        raise ValueError(f"{name} is no IQA-Adapter: it has no ip_adapter.{{i}}.{KEY}.")
    layers = []
    for number in range(1, max(numbers) + 1, 2):
        pair = [state.get(f"ip_adapter.{number}.{part}") for part in (KEY, VALUE)]
        for part, weight in zip((KEY, VALUE), pair, strict=True):
            if weight is None:
                raise ValueError(f"{name} is incomplete: ip_adapter.{number}.{part} is missing.")
            if weight.ndim != 2 or weight.shape[1] != width or weight.shape != pair[0].shape:
                raise ValueError(
                    f"{name}: ip_adapter.{number}.{part} has shape {tuple(weight.shape)}, expected "
                    f"({pair[0].shape[0]}, {width})."
                )
        layers.append(LayerWeights(*pair))
    return tuple(layers)


def _describe(bare: Metadata | None, inputs: int, name: str) -> Metadata:
    """Metadata of a file without any, with the encoding that fits its projection."""
    if bare is None:
        raise ValueError(
            f"{name} does not say which metrics it was trained on. Enter them in `metrics`, in training order "
            f"(for example `topiq_nr, laion_aes`); its projection takes {inputs} inputs. For a reference adapter, add "
            "metadata with `python iqa.py convert`."
        )
    try:
        use_flag, octaves = infer_encoding(inputs, bare.quality_width or inputs)
    except ValueError as error:
        raise ValueError(
            f"{name} takes {inputs} inputs, which does not fit {bare.quality_width} quality values, with or without "
            "constant flag and positional encoding. Check what it was trained on."
        ) from error
    return dataclasses.replace(bare, use_flag=use_flag, positional_octaves=octaves)
