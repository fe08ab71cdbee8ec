"""Adapter files: every known layout in, one layout out. No code of a pickle ever runs.

Layouts (key prefixes): released ``image_proj.`` / ``ip_adapter.{i}.`` as ``.safetensors`` or ``.bin`` (there nested
dicts); raw training states ``qual_proj_model.`` / ``adapter_modules.{i}.``, whose ``unet.`` beside them is
not read; ours, the released keys with a JSON header (:mod:`.metadata`). ``i`` counts all attention processors of the
diffusers UNet, so cross-attention layers have odd ``i``.
"""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import torch
from torch import Tensor

from ..files import SMALL, FileState, fill, read_tensors, shown, write_tensors
from ..tensor_files import flat_tensors
from ..wrong_files import looks_like
from .adapter import Adapter, LayerWeights
from .metadata import HEADER_KEY, Metadata
from .projection import QualityEncoding, QualityProjection

PREFIXES = {"qual_proj_model.": "image_proj.", "adapter_modules.": "ip_adapter."}
KEY, VALUE = "to_k_ip.weight", "to_v_ip.weight"
NUMBER = re.compile(r"\d{1,4}", re.ASCII)  # of a layer; the largest UNets have 140 attention processors
PICTURE_EMBEDDINGS = (768, 1024, 1280)  # inputs of IP-Adapters: widths of CLIP's image encoders


def load_adapter(path: str | Path, bare: Metadata | None = None) -> Adapter:
    """Read an adapter file of any layout.

    At most one copy of the file is in memory; layer weights of a large one stay mapped.

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
    name = shown(path.name)
    if not path.is_file():
        raise FileNotFoundError(f"There is no adapter file {name}; put it into ComfyUI's models/iqa_adapter/.")
    file = FileState.at(path)
    is_large = file.size > SMALL
    content, header = read_tensors(path, mapped=is_large)
    if not isinstance(content, dict):
        raise ValueError(f"{name} holds no dictionary of tensors, so it is no IQA-Adapter.")
    tensors = flat_tensors(content)
    state = {released: tensor for key, tensor in tensors.items() if (released := _released_key(key))}
    weights = _projection_weights(state, tensors, name)
    layers = _layers(state, len(weights["norm.weight"]), name)
    inputs = next(iter(weights.values())).shape[1]
    if HEADER_KEY in header:
        metadata = _described(header[HEADER_KEY], inputs, len(layers), name)
    else:
        metadata = _describe(bare, inputs, name)
    mapped = file if is_large else None
    return Adapter(name, metadata, _projection(weights, path), layers, mapped, path)


def save_adapter(adapter: Adapter, path: str | Path, dtype: torch.dtype | None = None) -> None:
    """Write our layout, whole or not at all. Its header also says how many tokens and which width the projection has.

    Args:
        dtype: of the weights in the file; None keeps each as it is.

    Raises:
        OSError: the file cannot be written; one that was there is kept.
    """
    state = {f"image_proj.{key}": value for key, value in adapter.projection.state_dict().items()}
    for number, layer in enumerate(adapter.layers):
        state[f"ip_adapter.{2 * number + 1}.{KEY}"] = layer.key
        state[f"ip_adapter.{2 * number + 1}.{VALUE}"] = layer.value
    state = {key: value.to(dtype or value.dtype) for key, value in state.items()}
    header = adapter.metadata.to_json(tokens=adapter.tokens, mlp_width=adapter.projection.mlp_width)
    write_tensors(path, state, {HEADER_KEY: header})


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


def _released_key(name: str) -> str | None:
    """The released name of a tensor, or None for one that is not the adapter's."""
    name = name.removeprefix("module.")
    for prefix, released in PREFIXES.items():
        if name.startswith(prefix):
            return released + name.removeprefix(prefix)
    return name if name.startswith(tuple(PREFIXES.values())) else None


def _projection_weights(state: dict[str, Tensor], tensors: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    """The projection's tensors, still in the file, by the names of :class:`QualityProjection`, first layer first.

    Raises:
        ValueError: some are missing, or their shapes do not fit; ``tensors`` are all of the file, for the message.
    """
    weights = {key.removeprefix("image_proj."): value for key, value in state.items() if key.startswith("image_proj.")}
    mlp = "proj.2.weight" in weights
    first, last = ("proj.0", "proj.2") if mlp else ("proj", "proj")
    if missing := [key for key in (f"{first}.weight", f"{last}.weight", "norm.weight") if key not in weights]:
        kind = looks_like(tensors)
        raise ValueError(
            f"{name} is no IQA-Adapter: image_proj.{missing[0]} is missing. "
            + (f"It looks like {kind}, which" if kind else "An IP-Adapter, LoRA or checkpoint file")
            + " cannot be used here."
        )
    matrix, norm, rows = weights[f"{first}.weight"], weights["norm.weight"], weights[f"{last}.weight"]
    width = len(norm) if norm.ndim == 1 else 0
    outputs = len(rows) if rows.ndim == 2 else 0
    if not width or not outputs or outputs % width or matrix.ndim != 2 or not matrix.numel():
        raise ValueError(
            f"{name}: image_proj.{last}.weight {tuple(rows.shape)} does not fit image_proj.norm.weight "
            f"{tuple(norm.shape)}."
        )
    expected = {f"{first}.weight": tuple(matrix.shape), f"{first}.bias": (len(matrix),)}
    if mlp:
        expected |= {"proj.2.weight": (outputs, len(matrix)), "proj.2.bias": (outputs,)}
    expected |= {"norm.weight": (width,), "norm.bias": (width,)}
    for key in expected.keys() | weights.keys():
        shape = tuple(weights[key].shape) if key in weights else None
        if shape != expected.get(key) or weights[key].dtype.itemsize < 2 or not weights[key].is_floating_point():
            raise ValueError(
                f"{name}: its quality projection is incomplete or misshapen: image_proj.{shown(key)} is "
                f"{'missing' if shape is None else f'{shape} {weights[key].dtype}'}, expected "
                f"{expected.get(key, 'nothing of that name')} in floating point of at least 16 bits."
            )
    return {key: weights[key] for key in expected}


def _projection(weights: dict[str, Tensor], path: Path) -> QualityProjection:
    mlp, width = "proj.2.weight" in weights, len(weights["norm.weight"])
    first, last = (weights[key] for key in (("proj.0.weight", "proj.2.weight") if mlp else ("proj.weight",) * 2))
    with torch.device("meta"):  # the file's values take the place of initial ones
        projection = QualityProjection(first.shape[1], len(last) // width, width, len(first) if mlp else 0)
    copied = {key: value.to(torch.float32, copy=True) for key, value in weights.items()}  # layers alone may be mapped
    fill(projection, copied, path, assign=True)
    return projection.requires_grad_(False).eval()


def _layers(state: dict[str, Tensor], width: int, name: str) -> tuple[LayerWeights, ...]:
    parts = [key.split(".")[1] for key in state if key.startswith("ip_adapter.")]
    if (wrong := next((part for part in parts if not NUMBER.fullmatch(part)), None)) is not None:
        raise ValueError(f"{name}: ip_adapter.{shown(wrong)} has no layer number of 0 to 9999; the file is damaged.")
    if not parts:
        raise ValueError(f"{name} is no IQA-Adapter: it has no ip_adapter.{{i}}.{KEY}.")
    layers = []
    for number in range(1, max(map(int, parts)) + 1, 2):
        names = [f"ip_adapter.{number}.{part}" for part in (KEY, VALUE)]
        if missing := [key for key in names if key not in state]:
            raise ValueError(f"{name} is incomplete: {missing[0]} is missing.")
        key_weight, value_weight = (state[key] for key in names)
        for key, weight in zip(names, (key_weight, value_weight), strict=True):
            if weight.ndim != 2 or weight.shape[1] != width or not len(weight) or weight.shape != key_weight.shape:
                raise ValueError(
                    f"{name}: {key} has shape {tuple(weight.shape)}, expected "
                    f"({key_weight.shape[0] if key_weight.ndim else 'C'}, {width})."
                )
            if not weight.is_floating_point():
                raise ValueError(f"{name}: {key} holds {weight.dtype}, no floating-point numbers.")
        layers.append(LayerWeights(key_weight, value_weight))
    return tuple(layers)


def _described(text: str, inputs: int, layers: int, name: str) -> Metadata:
    """Metadata of a file that has some, compared with its weights."""
    metadata = Metadata.from_json(text, f"The metadata of {name}")
    encoding = QualityEncoding(metadata.use_flag, metadata.positional_octaves)
    if metadata.quality_width and encoding.width(metadata.quality_width) != inputs:
        raise ValueError(
            f"{name}: its metadata speaks of {metadata.quality_width} quality values, which makes "
            f"{encoding.width(metadata.quality_width)} inputs, but its projection takes {inputs}. The file is damaged."
        )
    if metadata.sites and len(metadata.sites) != layers:
        raise ValueError(f"{name}: its metadata names {len(metadata.sites)} sites, but it has {layers} layers.")
    return metadata


def _describe(bare: Metadata | None, inputs: int, name: str) -> Metadata:
    """Metadata of a file without any, with the encoding that fits its projection."""
    if bare is None:
        raise ValueError(
            f"{name} does not say which metrics it was trained on. Enter them in `metrics`, in training order "
            f"(for example `topiq_nr, laion_aes`); its projection takes {inputs} inputs. For a reference adapter, add "
            "metadata with `python iqa.py convert`."
            + (" It may also be an IP-Adapter for pictures." if inputs in PICTURE_EMBEDDINGS else "")
        )
    try:
        use_flag, octaves = infer_encoding(inputs, bare.quality_width or inputs)
    except ValueError as error:
        raise ValueError(
            f"{name} takes {inputs} inputs, which does not fit {bare.quality_width} quality values, with or without "
            "constant flag and positional encoding. Check what it was trained on."
        ) from error
    return dataclasses.replace(bare, use_flag=use_flag, positional_octaves=octaves)
