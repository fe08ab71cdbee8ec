"""Activations are saved and loaded by graphs on the real server."""

import pytest
import torch

from comfyui_client import GraphRefused
from iqa_adapter.iqa_models import features as activations
from iqa_adapter.iqa_models import loading

GRAPH = {
    "model": {"class_type": "IQAModelLoader", "inputs": {"metric": "quickstart_iqa"}},
    "image": {
        "class_type": "EmptyImage",
        "inputs": {"width": 64, "height": 64, "batch_size": 2, "color": 0x4080C0},
    },
    "features": {
        "class_type": "IQAReferenceFeatures",
        "inputs": {
            "iqa_model": ["model", 0],
            "images": ["image", 0],
            "pooling": "auto",
            "protocol": "64",
            "references": "one by one",
        },
    },
    "save": {
        "class_type": "IQASaveFeatures",
        "inputs": {"iqa_features": ["features", 0], "filename_prefix": "iqa_features/blue"},
    },
}


def test_saved_by_one_graph_and_loaded_by_another(server):
    (first,) = server.outputs_of(GRAPH)["save"]["text"]
    assert first == "iqa_features/blue_00001_.safetensors"
    pixels = torch.tensor([0x40, 0x80, 0xC0]).expand(2, 64, 64, 3) / 255
    expected = activations.extract_features(loading.load_iqa_model("quickstart_iqa"), pixels)
    saved = activations.load_features(server.log.parent / first)
    assert saved.source == expected.source
    torch.testing.assert_close(saved.tensor, expected.tensor, atol=1e-5, rtol=1e-5)

    load = {"class_type": "IQALoadFeatures", "inputs": {"features_name": "blue_00001_.safetensors"}}
    save = {"class_type": "IQASaveFeatures", "inputs": {**GRAPH["save"]["inputs"], "iqa_features": ["load", 0]}}
    (second,) = server.outputs_of({"load": load, "save": save})["save"]["text"]
    assert second == "iqa_features/blue_00002_.safetensors"  # nothing is overwritten
    assert torch.equal(activations.load_features(server.log.parent / second).tensor, saved.tensor)


def test_files_that_are_not_features_are_refused(server):
    folder = server.log.parent / "iqa_features"
    folder.mkdir(exist_ok=True)
    (folder / "broken.safetensors").write_bytes(b"not a file of features")
    graph = {
        "load": {"class_type": "IQALoadFeatures", "inputs": {"features_name": "broken.safetensors"}},
        "save": {"class_type": "IQASaveFeatures", "inputs": {**GRAPH["save"]["inputs"], "iqa_features": ["load", 0]}},
    }
    error = server.error_of(graph).strip()
    assert "broken.safetensors (22 bytes) is truncated or damaged" in error and "\n" not in error
    graph["load"]["inputs"]["features_name"] = "absent.safetensors"
    with pytest.raises(GraphRefused, match=r"There is no absent.safetensors in .*found there: .*broken.safetensors"):
        server.queue(graph)
