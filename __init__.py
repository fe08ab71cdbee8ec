"""ComfyUI-IQA-Adapter: perceptual quality as a condition of text-to-image models, as ComfyUI nodes."""

import os

import folder_paths
from comfy_api.latest import ComfyExtension
from typing_extensions import override

WEB_DIRECTORY = "./web"
QUICKSTART_WEIGHTS = os.path.join(os.path.dirname(__file__), "quickstart", "weights")


def _register_model_folder(name: str, extensions: set[str], *embedded: str) -> None:
    """Make ``models/<name>/`` a model folder of ComfyUI, beside any that extra_model_paths.yaml gave it."""
    folder = os.path.join(folder_paths.models_dir, name)
    os.makedirs(folder, exist_ok=True)
    for path in (folder, *embedded):
        folder_paths.add_model_folder_path(name, path)
    folder_paths.folder_names_and_paths[name][1].update(extensions)


_register_model_folder("iqa_adapter", {".safetensors", ".bin"}, os.path.join(QUICKSTART_WEIGHTS, "adapters"))
_register_model_folder("iqa", {".safetensors", ".pth", ".pt"}, QUICKSTART_WEIGHTS)
_register_model_folder(
    "iqa_features", {".safetensors"}, os.path.join(folder_paths.get_output_directory(), "iqa_features")
)


class IQAAdapterExtension(ComfyExtension):
    @override
    async def get_node_list(self):
        from .nodes import NODES

        return NODES


async def comfy_entrypoint() -> IQAAdapterExtension:
    return IQAAdapterExtension()
