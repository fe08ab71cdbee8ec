"""Images -> pooled activations of one layer of an IQA model; files of such features."""

from __future__ import annotations

import difflib
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import comfy.utils
import torch
from torch import Tensor, nn
from typing_extensions import NotRequired, TypedDict

from .. import files
from ..quality.resize import AS_IS
from .batches import check_images, run_in_batches

if TYPE_CHECKING:
    from .loading import IQAModel

HEADER_KEY = "iqa_features"

POOLINGS = {  # [images, positions, channels] -> [images, dim]
    "mean": lambda positions: positions.mean(1),
    "max": lambda positions: positions.amax(1),
    "mean+std": lambda positions: torch.cat([positions.mean(1), positions.std(1, correction=0)], 1),
    "none": lambda positions: positions.squeeze(1),
}


@dataclass(frozen=True, eq=False)
class Features:
    """Raw activations of images, and where they were taken.

    Attributes:
        tensor: ``[images, dim]`` float32 on the CPU, not standardised.
        model: metric name of the IQA model.
        layer: path of a module inside the IQA model's net.
        pooling: a key of ``POOLINGS``.
        resize: how the images were scaled before the model saw them, see :mod:`..quality.resize`; empty where a file
            of version 0.1.0 does not say.

    Raises:
        ValueError: ``tensor`` is no matrix, or a value is not finite.
    """

    tensor: Tensor
    model: str
    layer: str
    pooling: str
    resize: str = ""

    def __post_init__(self):
        if self.tensor.ndim != 2 or not len(self.tensor):
            raise ValueError(f"Features must be [images, dim], not {list(self.tensor.shape)}.")
        if not self.tensor.isfinite().all():
            raise ValueError(f"Activations of {self.source} are not finite; use another picture or layer.")

    def __len__(self) -> int:
        return len(self.tensor)

    @property
    def source(self) -> str:
        """Where they were taken, in words."""
        return f"{self.model}, layer {self.layer}, pooling {self.pooling}"


def extract_features(
    model: IQAModel,
    images: Sequence[Tensor],
    layer: str = "",
    pooling: str = "",
    resize: str = AS_IS,
    batch_size: int = 0,
    progress: comfy.utils.ProgressBar | None = None,
) -> Features:
    """Activations of one layer while the model scores the images.

    The layer's output is read as positions times channels: ``[n, C, H, W]`` has H W positions, ``[n, T, D]`` T tokens,
    ``[n, D]`` one. What a model computes for several crops or scales of an image are further positions of that image.

    Args:
        model: any IQA model with a net.
        images: ``[batch, height, width, channels]``, 0...1, or pictures of different sizes; see :mod:`.batches`.
        layer: module path; empty for the catalogue's feature layer.
        pooling: ``mean``, ``max``, ``mean+std`` (twice as wide, population standard deviation) over the positions, or
            ``none`` for layers with one position; empty for ``none`` if there is one, else ``mean``.
        resize, batch_size, progress: see :func:`.scoring.score_images`.

    Raises:
        ValueError: unknown pooling or layer (the nearest names are listed), a layer that does not run or gives no
            vectors, ``none`` for several positions, or images that do not suit the model.
    """
    return Features(*read_layer(model, images, layer, pooling, resize, batch_size, progress), resize)


def read_layer(
    model: IQAModel,
    images: Sequence[Tensor],
    layer: str = "",
    pooling: str = "",
    resize: str = AS_IS,
    batch_size: int = 0,
    progress: comfy.utils.ProgressBar | None = None,
    names: Sequence[str] = (),
) -> tuple[Tensor, str, str, str]:
    """As :func:`extract_features`, but with NaN for images for which the model has no answer.

    Args:
        names: of the images, for the log.

    Returns:
        Activations ``[images, dim]``, the model's name, the layer's, and the pooling.
    """
    if pooling and pooling not in POOLINGS:
        raise ValueError(f"Unknown pooling {pooling!r}; expected one of {', '.join(POOLINGS)}.")
    entry = model.entry
    name = layer or (entry.layer.name if entry.layer else "")
    read = _LayerReader(model, name, pooling)
    check_images(images, [entry], resize)
    progress = progress or comfy.utils.ProgressBar(len(images))
    tensor = run_in_batches(model, images, read, resize, batch_size, progress, names)
    return tensor, entry.name, name, read.pooling


class _LayerReader:
    """Scores batches and returns a layer's pooled activations, ``[n, 3, H, W]`` -> ``[n, dim]``."""

    def __init__(self, model: IQAModel, name: str, pooling: str):
        self.model, self.name, self.pooling = model, name, pooling
        self.module = _layer(model, name)
        self.alone = False  # the layer has several rows per image, and only alone is it clear whose they are

    def __call__(self, batch: Tensor) -> Tensor:
        if self.alone and len(batch) > 1:
            return torch.cat([self(image) for image in batch.split(1)])
        positions = self._positions(batch)
        if positions is None:
            self.alone = True
            return self(batch)
        self.pooling = self.pooling or ("none" if positions.shape[1] == 1 else "mean")
        if self.pooling == "none" and positions.shape[1] > 1:
            raise ValueError(
                f"Layer {self.name} of {self.model.entry.name} has {positions.shape[1]} positions per image, so its "
                "activations are no vector; choose pooling mean, max or mean+std."
            )
        return POOLINGS[self.pooling](positions)

    def _positions(self, batch: Tensor) -> Tensor | None:
        """Activations ``[n, positions, channels]``; None if it is unclear which rows belong to which image."""
        outputs: list[Tensor] = []
        hook = self.module.register_forward_hook(lambda _, inputs, output: outputs.append(_rows(output, self.name)))
        try:
            self.model.patcher.model(batch)
        finally:
            hook.remove()
        if not outputs:
            raise ValueError(f"Layer {self.name} does not run when an image is scored; choose another.")
        if len(batch) == 1:
            return torch.cat([output.flatten(0, 1) for output in outputs])[None]
        rows, positions = outputs[0].shape[:2]
        clear = len(outputs) == 1 and rows == len(batch) != positions  # [n, n, D] could be tokens first, as in CLIP
        return outputs[0] if clear else None


def _layer(model: IQAModel, name: str) -> nn.Module:
    layers = dict(model.patcher.model.net.named_modules())
    del layers[""]
    if not layers:
        raise ValueError(f"{model.entry.name} is computed by a formula and has no layers; choose a learned metric.")
    if not name:
        raise ValueError(f"The catalogue knows no feature layer of {model.entry.name}; name one of {_some(layers)}.")
    if name not in layers:
        nearest = difflib.get_close_matches(name, layers, n=5, cutoff=0.0)
        raise ValueError(f"{model.entry.name} has no layer {name!r}; the nearest are {', '.join(nearest)}.")
    return layers[name]


def _some(layers: dict[str, nn.Module], count: int = 8) -> str:
    names = list(layers)
    return ", ".join(names[-count:]) + (f" ({len(names)} in all)" if len(names) > count else "")


def _rows(output, name: str) -> Tensor:
    """A layer's output as float32 ``[rows, positions, channels]``; of several outputs the first."""
    while isinstance(output, (tuple, list)) and output:
        output = output[0]
    if not isinstance(output, Tensor) or output.ndim < 2:
        raise ValueError(f"Layer {name} does not give one vector per image or position; choose another.")
    output = output.float()
    if output.ndim == 2:
        return output[:, None]
    return output if output.ndim == 3 else output.flatten(2).transpose(1, 2)


class _Source(TypedDict):
    """The header of a file of features."""

    model: files.Text
    layer: files.Text
    pooling: files.Text
    protocol: NotRequired[files.Text]


def save_features(features: Features, path: str | Path) -> None:
    """Write a ``.safetensors`` file that says where the features were taken; an existing one is replaced whole."""
    facts = {"model": features.model, "layer": features.layer, "pooling": features.pooling}
    header = json.dumps(facts | {"protocol": features.resize})
    files.write_tensors(path, {"features": features.tensor}, {HEADER_KEY: header})


def load_features(path: str | Path) -> Features:
    """Inverse of :func:`save_features`; the log says where a file does not tell how its pictures were scaled.

    Raises:
        FileNotFoundError: no such file.
        WrongFile: it is none of IQA features, or damaged.
    """
    content, header = files.read_tensors(path)
    tensor = content.get("features") if isinstance(content, dict) else None
    if not isinstance(tensor, Tensor) or HEADER_KEY not in header or not tensor.is_floating_point():
        raise files.WrongFile(f"{files.shown(path)} is no file of IQA features. Save it with this pack.")
    facts = files.parse_json(header[HEADER_KEY], _Source, path)
    resize = facts.pop("protocol", "")
    try:
        features = Features(tensor.float(), **facts, resize=resize)
    except ValueError as error:
        raise files.WrongFile(f"{files.shown(path)}: {error}") from error
    if not features.resize:
        logging.warning(
            "%s does not say how its pictures were scaled (version 0.1.0 did not); it is taken to fit.",
            files.shown(path),
        )
    return features
