"""The workflows in API format run as they are; what ``make demo`` and a script would send."""

import json
from functools import cache

import numpy as np
import pytest
import torch
from PIL import Image

from comfyui_runtime import ROOT, find_comfyui
from iqa_adapter.iqa_models.loading import load_iqa_model
from iqa_adapter.iqa_models.scoring import score_images

FILES = sorted((ROOT / "workflows" / "api").glob("*.json"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_it_runs_and_saves_a_picture(server, file):
    server.upload(find_comfyui() / "input" / "example.png")  # every ComfyUI comes with it
    assert min(saved_by(server, file.stem).size) > 100


def test_the_trained_score_adapter_follows_the_request(server):
    cells = cells_of(saved_by(server, "train_score_adapter"), rows=2)  # of prompts; columns of 1, 50 and 99 %
    quality = score_images([load_iqa_model("quickstart_iqa")], cells.flatten(0, 1)).values.view(2, 3)
    assert (quality[:, 2] > quality[:, 0] + 0.1).all(), quality


def test_the_trained_reference_adapter_follows_the_pictures_of_the_first_row(server):
    blurred_noisy_good, *drawn = roughness(cells_of(saved_by(server, "train_reference_adapter"), rows=3))
    expected = [0, 2, 1]
    assert blurred_noisy_good.argsort().tolist() == expected
    assert [row.argsort().tolist() for row in drawn] == [expected, expected], drawn


@cache
def saved_by(server, name):
    """The picture that a workflow saves."""
    graph = json.loads((ROOT / "workflows" / "api" / f"{name}.json").read_text())
    outputs = server.outputs_of(graph, timeout=1200)
    (saving,) = [number for number, node in graph.items() if node["class_type"] == "SaveImage"]
    (picture,) = outputs[saving]["images"]
    return Image.open(server.log.parent / picture["filename"])


def cells_of(sheet, rows):
    """Pictures of a sheet of samples of the quickstart, ``[rows, 3, 64, 64, 3]``; the sheet enlarges them twice."""
    pixels = torch.from_numpy(np.asarray(sheet, np.float32) / 255)
    height = (sheet.height - 8) // rows
    corners = [[(8 + height * row, 8 + 136 * column) for column in range(3)] for row in range(rows)]
    return torch.stack([torch.stack([pixels[y : y + 128 : 2, x : x + 128 : 2] for y, x in row]) for row in corners])


def roughness(cells):
    """Mean difference of neighbouring pixels, ``[rows, 3]``: noise raises it, blur lowers it."""
    return cells.diff(dim=2).abs().mean((2, 3, 4)) + cells.diff(dim=3).abs().mean((2, 3, 4))


def test_each_is_a_template_with_a_thumbnail(server):
    names = server.get("/workflow_templates")["ComfyUI-IQA-Adapter"]
    assert sorted(names) == [file.stem for file in FILES]
    for name in names:
        assert server.get(f"/api/workflow_templates/ComfyUI-IQA-Adapter/{name}.jpg")[:3] == b"\xff\xd8\xff"
