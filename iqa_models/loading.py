"""Metric name -> IQA model, ready to share ComfyUI's memory."""

from __future__ import annotations

from dataclasses import dataclass

import comfy.model_management
import torch
from comfy.model_patcher import ModelPatcher
from torch import Tensor, nn

from . import catalogue, construction, known_files, weights
from .catalogue import Entry
from .weights import LoadedFile


@dataclass(frozen=True, eq=False)
class IQAModel:
    """An IQA model.

    Attributes:
        entry: what the catalogue says about it.
        patcher: holds a :class:`ScoringModel`; bring it to its device with ``load_models_gpu``.
        files: its weights; none for formulas.
    """

    entry: Entry
    patcher: ModelPatcher
    files: tuple[LoadedFile, ...] = ()


class ScoringModel(nn.Module):
    """Images -> raw scores, as pyiqa's ``InferenceModel`` gives them.

    Attributes:
        net: the metric's architecture, whose submodules can be hooked by path.
    """

    def __init__(self, net: nn.Module):
        super().__init__()
        self.net = net

    def forward(self, images: Tensor) -> Tensor:
        """Score a batch.

        Args:
            images: ``[N, 3, H, W]``, RGB, 0...1. Gradients pass where the metric is differentiable.

        Returns:
            ``[N]`` float32, in the metric's unit and direction.
        """
        with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True):
            return self.net(images).reshape(-1).float()


def load_iqa_model(name: str, download_if_missing: bool = False) -> IQAModel:
    """Build a metric with its weights.

    Args:
        name: metric of the catalogue.
        download_if_missing: fetch files that are nowhere on this computer; otherwise the network is never touched.

    Raises:
        ValueError: unknown or unsupported metric; damaged, unsafe or wrong file.
        ImportError: a metric of pyiqa, which is not installed here.
        FileNotFoundError: weights are missing; the message says which, where they belong and where they come from.
        download.DownloadError: weights could not be fetched.
    """
    entry = catalogue.find(name)
    if not entry.supported:
        raise ValueError(f"{entry.name} cannot be used here: {entry.why_not}")
    files = {file.name: weights.locate(file) for file in entry.weights}
    absent = [file for file in entry.weights if files[file.name] is None]
    if absent and not download_if_missing:
        raise weights.missing(entry.name, absent)
    if absent:
        from .download import download  # requests: only where it is used

        files |= {file.name: download(file) for file in absent}
    loaded = tuple(LoadedFile.at(files[file.name]) for file in entry.weights)
    for file in loaded if entry.name != catalogue.QUICKSTART else ():  # whose weights are part of this pack
        known_files.note(file)
    net = construction.build(entry.name, files, entry.layer.name if entry.layer else "")
    device = comfy.model_management.get_torch_device()
    patcher = ModelPatcher(ScoringModel(net), device, comfy.model_management.unet_offload_device())
    return IQAModel(entry, patcher, loaded)
