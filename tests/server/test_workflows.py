"""The workflows in API format run as they are; what ``make demo`` and a script would send."""

import json

import pytest
from PIL import Image

from comfyui_runtime import ROOT, find_comfyui

FILES = sorted((ROOT / "workflows" / "api").glob("*.json"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_it_runs_and_saves_a_picture(server, file):
    server.upload(find_comfyui() / "input" / "example.png")  # every ComfyUI comes with it
    graph = json.loads(file.read_text())
    outputs = server.outputs_of(graph)
    (saving,) = [number for number, node in graph.items() if node["class_type"] == "SaveImage"]
    (picture,) = outputs[saving]["images"]
    with Image.open(server.log.parent / picture["filename"]) as image:
        assert min(image.size) > 100


def test_each_is_a_template_with_a_thumbnail(server):
    names = server.get("/workflow_templates")["ComfyUI-IQA-Adapter"]
    assert sorted(names) == [file.stem for file in FILES]
    for name in names:
        assert server.get(f"/api/workflow_templates/ComfyUI-IQA-Adapter/{name}.jpg")[:3] == b"\xff\xd8\xff"
