"""Load IQA-Adapters and IQA models."""

from __future__ import annotations

from comfy_api.latest import io

from ..iqa_models import catalogue, choice, weights
from ..iqa_models.loading import load_iqa_model
from ..iqa_models.score_text import arrow
from . import adapter_files
from .schema import IQAAdapterType, IQAModelType, listed, schema


class IQAAdapterLoader(io.ComfyNode):
    """A file of models/iqa_adapter/ -> IQA_ADAPTER, what it is."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="IQAAdapterLoader",
            display_name="Load IQA-Adapter",
            search_aliases=["quality adapter", "iqa adapter loader", "image quality"],
            description="Loads an IQA-Adapter: a small network that lets a diffusion model obey perceptual quality. "
            "Files belong in ComfyUI/models/iqa_adapter/.",
            inputs=[
                adapter_files.adapter_input(
                    "score",
                    "File in models/iqa_adapter/ (.safetensors or .bin). It must fit the family of the checkpoint: "
                    "SD1.5, SD2 or SDXL.",
                ),
                adapter_files.metrics_input(),
            ],
            outputs=[
                IQAAdapterType.Output(display_name="iqa_adapter", tooltip="For the conditioning nodes of this pack."),
                io.String.Output(
                    display_name="description", tooltip="What the file is: kind, metrics or IQA model, and family."
                ),
            ],
        )

    @classmethod
    def validate_inputs(cls, adapter_name: str) -> bool | str:
        return listed(adapter_files.FOLDER, adapter_name)

    @classmethod
    def fingerprint_inputs(cls, adapter_name: str, metrics: str = "") -> tuple:
        return adapter_files.fingerprint(adapter_name, metrics)

    @classmethod
    def execute(cls, adapter_name: str, metrics: str = "") -> io.NodeOutput:
        adapter = adapter_files.load(adapter_name, metrics)
        description = adapter_files.in_words(adapter)
        return io.NodeOutput(adapter, description, ui={"text": [description]})


class IQAModelLoader(io.ComfyNode):
    """A metric of the catalogue -> IQA_MODEL."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="IQAModelLoader",
            display_name="Load IQA Model",
            search_aliases=["metric", "pyiqa", "image quality model", "iqa model loader"],
            description="Loads a no-reference image-quality or aesthetics model, most of them pyiqa's, from files in "
            "ComfyUI/models/iqa/ or the caches of pyiqa and torch hub. Nothing in a file can run code.",
            inputs=[
                _metric_input(),
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
        return [(str(path), *adapter_files.version(path)) for path in found if path is not None]

    @classmethod
    def execute(cls, metric: str, download_if_missing: bool = False) -> io.NodeOutput:
        return io.NodeOutput(load_iqa_model(metric, download_if_missing))


def _metric_input() -> io.Combo.Input:
    """The list of metrics in groups; what each one is stands in the tooltip and in ``descriptions``."""
    texts = dict(choice.described())
    lines = []
    for group, entries in choice.groups().items():
        for aspect in (False, True):
            names = [f"{entry.name} {arrow(entry.name)}" for entry in entries if entry.aesthetic == aspect]
            if names:
                lines.append(f"{group.capitalize()}, {'aesthetics' if aspect else 'technical'}: {', '.join(names)}.")
    socket = io.Combo.Input(
        "metric",
        options=list(texts),
        default="piqe",
        tooltip="The metric; the arrow points to better scores. A file that is missing is named with its source and "
        "its folder.\n" + "\n".join(lines),
    )
    socket.extra_dict = {**(socket.extra_dict or {}), "descriptions": texts}
    return socket


def _sizes() -> str:
    known = [entry for entries in choice.groups().values() for entry in entries]
    return ", ".join(f"{entry.name} {entry.download_mb:.0f}" for entry in known if entry.download_mb)
