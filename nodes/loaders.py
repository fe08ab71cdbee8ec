"""Load IQA-Adapters and IQA models."""

from __future__ import annotations

import os
from pathlib import Path
from weakref import WeakValueDictionary

import folder_paths
from comfy_api.latest import io

from ..adapter.adapter import Adapter
from ..adapter.checkpoint import load_adapter
from ..adapter.metadata import Metadata
from ..iqa_models import catalogue, weights
from ..iqa_models.loading import load_iqa_model
from ..quality.names import unknown_metric
from ..quality.statistics import MetricStatistics, cc3m_statistics
from .schema import IQAAdapterType, IQAModelType, advanced, files_in, listed, schema


class IQAAdapterLoader(io.ComfyNode):
    """A file of models/iqa_adapter/ -> IQA_ADAPTER."""

    _loaded: WeakValueDictionary[tuple, Adapter] = WeakValueDictionary()  # graphs share what is still in use

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="IQAAdapterLoader",
            display_name="Load IQA-Adapter",
            search_aliases=["quality adapter", "iqa adapter loader", "aesthetics", "image quality"],
            description="Loads an IQA-Adapter: a small network that lets a diffusion model obey perceptual quality. "
            "Files belong in ComfyUI/models/iqa_adapter/.",
            inputs=[
                io.Combo.Input(
                    "adapter_name",
                    options=files_in("iqa_adapter"),
                    tooltip="File in models/iqa_adapter/ (.safetensors or .bin). It must fit the family of the "
                    "checkpoint: SD1.5, SD2 or SDXL.",
                ),
                advanced(
                    io.String.Input(
                        "metrics",
                        default="",
                        optional=True,
                        placeholder="topiq_nr, laion_aes",
                        tooltip="Only for files that do not say which metrics they were trained on: the names, in "
                        "training order, separated by commas. With statistics: " + ", ".join(cc3m_statistics()) + ".",
                    )
                ),
            ],
            outputs=[
                IQAAdapterType.Output(display_name="iqa_adapter", tooltip="For the conditioning nodes of this pack.")
            ],
        )

    @classmethod
    def validate_inputs(cls, adapter_name: str) -> bool | str:
        return listed("iqa_adapter", adapter_name)

    @classmethod
    def fingerprint_inputs(cls, adapter_name: str, metrics: str = "") -> tuple:
        return _version(_path(adapter_name)), metrics

    @classmethod
    def execute(cls, adapter_name: str, metrics: str = "") -> io.NodeOutput:
        path = _path(adapter_name)
        key = (path, _version(path), metrics)
        adapter = cls._loaded.get(key) or load_adapter(path, _description(metrics))
        cls._loaded[key] = adapter
        return io.NodeOutput(adapter)


class IQAModelLoader(io.ComfyNode):
    """A metric of the catalogue -> IQA_MODEL."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="IQAModelLoader",
            display_name="Load IQA Model",
            search_aliases=["pyiqa", "image quality metric", "aesthetic model", "iqa metric"],
            description="Loads a no-reference image-quality or aesthetics model, most of them pyiqa's, from files in "
            "ComfyUI/models/iqa/ or the caches of pyiqa and torch hub. Nothing in a file can run code.",
            inputs=[
                io.Combo.Input(
                    "metric",
                    options=[name for name in catalogue.names() if catalogue.find(name).supported],
                    default="piqe",
                    tooltip="The metric. piqe, entropy and colourfulness need no file; for the others a missing file "
                    "is named with its source and its folder.",
                ),
                io.Boolean.Input(
                    "download_if_missing",
                    default=False,
                    optional=True,
                    tooltip="Fetch files that are missing to models/iqa/; off: the network is never touched. "
                    f"Sizes in MB, about: {_sizes()}.",
                ),
            ],
            outputs=[
                IQAModelType.Output(display_name="iqa_model", tooltip="For Score Images and Reference Activations.")
            ],
        )

    @classmethod
    def fingerprint_inputs(cls, metric: str, download_if_missing: bool = False) -> list[tuple]:
        """Changes when a weight file comes, goes or is replaced, so that the model is read again."""
        found = [weights.locate(file) for file in catalogue.find(metric).weights]
        return [(str(path), *_version(path)) for path in found if path is not None]

    @classmethod
    def execute(cls, metric: str, download_if_missing: bool = False) -> io.NodeOutput:
        return io.NodeOutput(load_iqa_model(metric, download_if_missing))


def _sizes() -> str:
    known = [catalogue.find(name) for name in catalogue.names()]
    return ", ".join(f"{entry.name} {entry.download_mb:.0f}" for entry in known if entry.download_mb)


def _path(adapter_name: str) -> str:
    return folder_paths.get_full_path_or_raise("iqa_adapter", adapter_name)


def _version(path: str | Path) -> tuple[int, int]:
    state = os.stat(path)
    return state.st_mtime_ns, state.st_size


def _description(metrics: str) -> Metadata | None:
    """What the user says about a file that says nothing; metrics without known statistics take z-scores only."""
    names = [name.strip() for name in metrics.split(",") if name.strip()]
    return Metadata(metrics=tuple(map(_metric, names))) if names else None


def _metric(name: str) -> MetricStatistics:
    known = cc3m_statistics()
    if name not in catalogue.names():
        raise ValueError(unknown_metric(name, known, catalogue.names()))
    entry = catalogue.find(name)
    facts = {"higher_is_better": entry.higher_is_better, "aesthetic": entry.aesthetic}
    return known.get(name) or MetricStatistics(name, **facts)
