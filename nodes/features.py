"""IQA_FEATURES <-> files, so that a quality found once can be used in other graphs."""

from __future__ import annotations

import os

import folder_paths
from comfy_api.latest import io, ui

from ..iqa_models.features import Features, load_features, save_features
from ..training.names import check_prefix
from .schema import IQAFeaturesType, files_in, listed, schema

FOLDER = "iqa_features"  # key of ComfyUI's folder_paths, and subfolder of its output folder


class IQASaveFeatures(io.ComfyNode):
    """IQA_FEATURES -> a file in ComfyUI's output folder."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="IQASaveFeatures",
            display_name="Save Activations",
            category="reference",
            search_aliases=["save reference quality", "store iqa features", "quality preset"],
            description="Writes activations to a .safetensors file that Load Activations finds, with the model, layer, "
            "pooling and resize they come from.",
            inputs=[
                IQAFeaturesType.Input("iqa_features", tooltip="From Reference Activations or Mix Activations."),
                io.String.Input(
                    "filename_prefix",
                    default=f"{FOLDER}/reference",
                    tooltip=f"Beginning of the file's name in ComfyUI's output folder; in {FOLDER}/ Load Activations "
                    "finds it. A number is added.",
                ),
            ],
            outputs=[io.String.Output(display_name="file", tooltip="Path of the file in the output folder.")],
            is_output_node=True,
        )

    @classmethod
    def execute(cls, iqa_features: Features, filename_prefix: str) -> io.NodeOutput:
        check_prefix(filename_prefix)
        output = folder_paths.get_output_directory()
        folder, name, counter, subfolder, _ = folder_paths.get_save_image_path(filename_prefix, output)
        file = f"{name}_{counter:05}_.safetensors"
        save_features(iqa_features, os.path.join(folder, file))
        saved = os.path.join(subfolder, file)
        return io.NodeOutput(saved, ui=ui.PreviewText(saved))


class IQALoadFeatures(io.ComfyNode):
    """A file of Save Activations -> IQA_FEATURES."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="IQALoadFeatures",
            display_name="Load Activations",
            category="reference",
            search_aliases=["load reference quality", "iqa features file", "quality preset"],
            description="Reads activations that Save Activations wrote; no IQA model and no picture is needed.",
            inputs=[
                io.Combo.Input(
                    "features_name",
                    options=files_in(FOLDER),
                    tooltip=f"File in output/{FOLDER}/ or models/{FOLDER}/.",
                )
            ],
            outputs=[
                IQAFeaturesType.Output(
                    display_name="iqa_features", tooltip="For Mix Activations and Reference Quality Conditioning."
                )
            ],
        )

    @classmethod
    def validate_inputs(cls, features_name: str) -> bool | str:
        return listed(FOLDER, features_name)

    @classmethod
    def fingerprint_inputs(cls, features_name: str) -> int:
        return os.stat(_path(features_name)).st_mtime_ns

    @classmethod
    def execute(cls, features_name: str) -> io.NodeOutput:
        return io.NodeOutput(load_features(_path(features_name)))


def _path(features_name: str) -> str:
    return folder_paths.get_full_path_or_raise(FOLDER, features_name)
