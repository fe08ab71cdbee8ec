"""One real ComfyUI server for the tests of this folder; its test nodes and model folder come by extra_model_paths."""

import json
from pathlib import Path

import pytest

import comfyui_client
import comfyui_runtime


@pytest.fixture(scope="session")
def adapter_folder(tmp_path_factory):
    return tmp_path_factory.mktemp("iqa_adapter")


@pytest.fixture(scope="session")
def server(tmp_path_factory, adapter_folder):
    folder = tmp_path_factory.mktemp("server")
    paths = {"custom_nodes": str(Path(__file__).parent / "custom_nodes"), "iqa_adapter": str(adapter_folder)}
    (folder / "paths.yaml").write_text(json.dumps({"tests": paths}))  # JSON is YAML
    arguments = ["--extra-model-paths-config", str(folder / "paths.yaml"), "--output-directory", str(folder)]
    with comfyui_runtime.serve(folder / "comfyui.log", *arguments) as address:
        yield comfyui_client.Client(address, folder / "comfyui.log")
