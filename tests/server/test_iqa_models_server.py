"""IQA models on the real server: the graph that scores a photo, the best of a batch, and failures in one sentence."""

import copy
import json
import re
import uuid
from pathlib import Path

import folder_paths
import iqa_nets
import pytest
import skimage.data
import torch
from PIL import Image

from comfyui_runtime import ROOT

GRAPH = json.loads((ROOT / "workflows" / "api" / "score_photo.json").read_text())


@pytest.fixture(scope="module")
def photo():
    """Name of a photo in ComfyUI's input folder, which the server shares with this process."""
    path = Path(folder_paths.get_input_directory()) / f"test_{uuid.uuid4().hex}.png"
    Image.fromarray(skimage.data.astronaut()[:200, :256]).save(path)
    yield path
    path.unlink()


@pytest.fixture()
def graph(photo):
    graph = copy.deepcopy(GRAPH)
    graph["1"]["inputs"]["image"] = photo.name
    return graph


def outputs(server, graph):
    entry = server.run(graph)
    assert entry["status"]["status_str"] == "success", entry["status"]["messages"]
    return entry["outputs"]


def piqe_of(path):
    pixels = torch.from_numpy(skimage.io.imread(path)).movedim(-1, 0)[None] / 255
    return iqa_nets.pyiqa_metric("piqe", None)(pixels).item()


def test_a_photo_is_scored(server, graph, photo):
    (table,) = outputs(server, graph)["3"]["text"]
    header, row = table.splitlines()
    assert header.split() == ["piqe", "\u2193"]
    assert row.split()[:2] == ["image", "1"]
    assert float(row.split()[2]) == pytest.approx(piqe_of(photo), rel=1e-3)


def test_the_best_of_a_batch_is_selected(server, graph):
    graph |= {
        "blurred": {"class_type": "ImageBlur", "inputs": {"image": ["1", 0], "blur_radius": 8, "sigma": 4.0}},
        "batch": {"class_type": "ImageBatch", "inputs": {"image1": ["blurred", 0], "image2": ["1", 0]}},
        "best": {
            "class_type": "IQASelectBest",
            "inputs": {"images": ["batch", 0], "iqa_scores": ["3", 0], "count": 1},
        },
        "indices": {"class_type": "PreviewAny", "inputs": {"source": ["best", 1]}},
        "values": {"class_type": "PreviewAny", "inputs": {"source": ["3", 1]}},
    }
    graph["3"]["inputs"]["images"] = ["batch", 0]
    graph["4"]["inputs"] |= {"images": ["batch", 0], "labels": ""}
    result = outputs(server, graph)
    blurred, sharp = map(float, result["values"]["text"])
    assert blurred > sharp  # piqe: lower is better
    assert result["indices"]["text"] == ["1"]


@pytest.mark.parametrize(("side", "saved"), [(256, 1), (100, 2)], ids=["one size", "two sizes"])
def test_a_list_of_pictures_is_ranked_as_one_set(server, graph, side, saved):
    """What leaves Select Best is one batch where the sizes are equal, and a list where they differ."""
    size = {"width": side, "height": 200, "upscale_method": "nearest-exact", "crop": "disabled"}
    graph |= {
        "scaled": {"class_type": "ImageScale", "inputs": {"image": ["1", 0], **size}},
        "blurred": {"class_type": "ImageBlur", "inputs": {"image": ["scaled", 0], "blur_radius": 8, "sigma": 4.0}},
        "list": {"class_type": "TestImageList", "inputs": {"a": ["blurred", 0], "b": ["1", 0]}},
        "best": {"class_type": "IQASelectBest", "inputs": {"images": ["list", 0], "iqa_scores": ["3", 0], "count": 2}},
        "indices": {"class_type": "PreviewAny", "inputs": {"source": ["best", 1]}},
        "size": {"class_type": "GetImageSize", "inputs": {"image": ["best", 0]}},
        "batch": {"class_type": "PreviewAny", "inputs": {"source": ["size", 2]}},
    }
    graph["3"]["inputs"]["images"] = ["list", 0]
    del graph["4"], graph["5"]
    result = outputs(server, graph)
    assert result["indices"]["text"] == ["1", "0"]
    assert result["batch"]["text"] == (["2"] if saved == 1 else ["1", "1"])
    assert len(result["3"]["text"][0].splitlines()) == 4  # a head, two pictures, their mean


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"3": {"model_2": ["2", 0]}}, "once only, but these are piqe, piqe"),
        ({"3": {"images": ["tiny", 0]}}, r"4x4 are too small for piqe, which needs at least \d+ pixels"),
        ({"features": {"images": ["1", 0]}}, "piqe is computed by a formula and has no layers"),
    ],
)
def test_bad_input_ends_in_one_sentence(server, graph, changes, message):
    del graph["4"], graph["5"]  # show the photo, which is not the matter here
    graph["tiny"] = {"class_type": "EmptyImage", "inputs": {"width": 4, "height": 4, "batch_size": 1, "color": 0}}
    if "features" in changes:
        inputs = {"iqa_model": ["2", 0], "pooling": "auto", "protocol": "512", "references": "one by one"}
        graph["features"] = {"class_type": "IQAReferenceFeatures", "inputs": inputs}
        graph["show"] = {"class_type": "PreviewAny", "inputs": {"source": ["features", 0]}}
    for node, inputs in changes.items():
        graph[node]["inputs"] |= inputs
    error = server.error_of(graph).strip()
    assert re.search(message, error), error
    assert "\n" not in error
