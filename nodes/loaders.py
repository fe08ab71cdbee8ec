"""Load IQA-Adapters and IQA models."""

from __future__ import annotations

import os
from weakref import WeakValueDictionary

import folder_paths
from comfy_api.latest import io

from ..adapter.adapter import Adapter
from ..adapter.checkpoint import load_adapter
from ..adapter.metadata import Metadata
from ..iqa_models import catalogue
from ..iqa_models.loading import load_iqa_model
from ..quality.statistics import cc3m_statistics, unknown_metric
from .schema import IQAAdapterType, IQAModelType, advanced, listed, schema


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
                    options=folder_paths.get_filename_list("iqa_adapter"),
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
                        "training order, separated by commas. Known: " + ", ".join(cc3m_statistics()) + ".",
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
        return os.stat(_path(adapter_name)).st_mtime_ns, metrics

    @classmethod
    def execute(cls, adapter_name: str, metrics: str = "") -> io.NodeOutput:
        path = _path(adapter_name)
        key = (path, os.stat(path).st_mtime_ns, metrics)
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
            description="Loads a no-reference image-quality or aesthetics model of pyiqa from files in "
            "ComfyUI/models/iqa/ or the caches of pyiqa and torch hub. Nothing in a file can run code.",
            inputs=[
                io.Combo.Input(
                    "metric",
                    options=[name for name in catalogue.names() if catalogue.find(name).supported],
                    default="piqe",
                    tooltip="The metric. piqe and entropy need no file; for the others a missing file is named with "
                    "its source and its folder.",
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
    def execute(cls, metric: str, download_if_missing: bool = False) -> io.NodeOutput:
        return io.NodeOutput(load_iqa_model(metric, download_if_missing))


def _sizes() -> str:
    known = [catalogue.find(name) for name in catalogue.names()]
    return ", ".join(f"{entry.name} {entry.download_mb:.0f}" for entry in known if entry.download_mb)


def _path(adapter_name: str) -> str:
    return folder_paths.get_full_path_or_raise("iqa_adapter", adapter_name)


def _description(metrics: str) -> Metadata | None:
    """What the user says about a file that says nothing."""
    known = cc3m_statistics()
    names = [name.strip() for name in metrics.split(",") if name.strip()]
    for name in names:
        if name not in known:
            raise ValueError(unknown_metric(name, list(known)))
    return Metadata(metrics=tuple(known[name].to_json() for name in names)) if names else None
