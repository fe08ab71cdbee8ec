"""The archive of the registry, unpacked into an empty ComfyUI folder as the Manager does, works there."""

import json
import zipfile

import archive
import pytest
from PIL import Image

import comfyui_client
import comfyui_runtime


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """ComfyUI's base directory with the installed pack and nothing else."""
    base = tmp_path_factory.mktemp("fresh")
    archive.make(base / "node.zip")
    for folder in ("input", "output", "user"):  # ComfyUI comes with them
        (base / folder).mkdir()
    with zipfile.ZipFile(base / "node.zip") as packed:
        packed.extractall(base / "custom_nodes" / "iqa-adapter")  # the name in pyproject.toml
    return base


@pytest.fixture(scope="module")
def installed(base):
    with comfyui_runtime.serve(base / "comfyui.log", "--base-directory", str(base)) as address:
        yield comfyui_client.Client(address, base / "comfyui.log")


@pytest.mark.parametrize("name", ["quickstart_match_picture", "quickstart_reference_transfer"])
def test_a_workflow_of_the_installed_pack_runs(base, installed, name):
    graph = json.loads((base / "custom_nodes" / "iqa-adapter" / "workflows" / "api" / f"{name}.json").read_text())
    outputs = installed.outputs_of(graph, timeout=1200)
    (saving,) = [number for number, node in graph.items() if node["class_type"] == "SaveImage"]
    assert outputs[saving]["images"]
    for picture in outputs[saving]["images"]:
        assert min(Image.open(base / "output" / picture["filename"]).size) >= 64


def test_it_has_the_nodes_templates_and_texts_of_the_repository(installed):
    of_the_pack = [name for name, node in installed.get("/object_info").items()
                   if node["python_module"] == "custom_nodes.iqa-adapter"]  # fmt: skip
    texts = json.loads((comfyui_runtime.ROOT / "locales" / "en" / "nodeDefs.json").read_text(encoding="utf-8"))
    assert sorted(of_the_pack) == sorted(texts)
    templates = (comfyui_runtime.ROOT / "workflows").glob("*.json")
    assert sorted(installed.get("/workflow_templates")["iqa-adapter"]) == sorted(path.stem for path in templates)
    assert any("/extensions/iqa-adapter/" in path for path in installed.get("/extensions"))
