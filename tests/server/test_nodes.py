"""The nodes on the real server: schemas, help pages, a sampled graph, and every bad input in one sentence."""

import copy
import dataclasses
import io
import re
import urllib.error

import models
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from comfyui_client import GraphRefused
from iqa_adapter.adapter import checkpoint
from iqa_adapter.adapter.adapter import Adapter, LayerWeights
from iqa_adapter.nodes import NODES
from iqa_adapter.quality import statistics

NODES = [node.GET_SCHEMA().node_id for node in NODES]

GRAPH = {
    "model": {"class_type": "TestTinyModel", "inputs": {"family": "SD1.5"}},
    "adapter": {"class_type": "IQAAdapterLoader", "inputs": {"adapter_name": "tiny.safetensors"}},
    "embed": {
        "class_type": "IQAQualityEmbed",
        "inputs": {
            "iqa_adapter": ["adapter", 0],
            "quality": 99.0,
            "aesthetics": 50.0,
            "negative": "zero",
            "negative_strength": 0.5,
        },
    },
    "apply": {
        "class_type": "IQAAdapterApply",
        "inputs": {
            "model": ["model", 0],
            "iqa_embeds": ["embed", 0],
            "strength": 1.0,
            "start_percent": 0.0,
            "end_percent": 1.0,
            "layer_weighting": "all",
        },
    },
    "latent": {"class_type": "EmptyLatentImage", "inputs": {"width": 128, "height": 128, "batch_size": 1}},
    "sample": {
        "class_type": "KSampler",
        "inputs": {
            "model": ["apply", 0],
            "positive": ["model", 1],
            "negative": ["model", 2],
            "latent_image": ["latent", 0],
            "seed": 1,
            "steps": 3,
            "cfg": 4.0,
            "sampler_name": "euler",
            "scheduler": "normal",
            "denoise": 1.0,
        },
    },
    "save": {"class_type": "SaveLatent", "inputs": {"samples": ["sample", 0], "filename_prefix": "adapted"}},
}


def changed(node, **inputs):
    """The graph with other inputs at one node."""
    graph = copy.deepcopy(GRAPH)
    graph[node]["inputs"] |= inputs
    return graph


@pytest.fixture(scope="module")
def tiny(adapter_folder):
    """An adapter file that fits the tiny model."""
    known = statistics.cc3m_statistics()
    metrics = tuple(known[name].to_json() for name in ("topiq_nr", "laion_aes"))
    adapter = models.random_adapter(models.comfy_model("SD1.5"))
    adapter = dataclasses.replace(adapter, metadata=dataclasses.replace(adapter.metadata, metrics=metrics))
    checkpoint.save_adapter(adapter, adapter_folder / "tiny.safetensors")
    return adapter


@pytest.fixture()
def latent_of(server, tiny):
    """Runs a graph and reads the latent that it saved."""

    def run(graph):
        entry = server.run(graph)
        assert entry["status"]["status_str"] == "success", entry["status"]["messages"]
        saved = entry["outputs"]["save"]["latents"][0]
        return load_file(server.log.parent / saved["subfolder"] / saved["filename"])["latent_tensor"]

    return run


def test_every_node_has_category_description_tooltips_and_a_help_page(server, tiny):
    for node in NODES:
        info = server.get(f"/object_info/{node}")[node]
        assert info["category"].startswith("IQA-Adapter") and len(info["description"]) > 30
        sockets = info["input"].get("required", {}) | info["input"].get("optional", {})
        for name, (_, *options) in sockets.items():
            assert options and options[0].get("tooltip"), f"{node}.{name} has no tooltip"
        assert all(info["output_tooltips"]), f"{node} has outputs without tooltip"
        page = server.get(f"/extensions/ComfyUI-IQA-Adapter/docs/{node}.md").decode()
        missing = [name for name in sockets if f"`{name}`" not in page]
        assert not missing, f"the help page of {node} does not mention {missing}"
        chinese = server.get(f"/extensions/ComfyUI-IQA-Adapter/docs/{node}/zh.md").decode()
        for picture in re.findall(r"!\[.+?\]\((.+?)\)", page + chinese):  # both relative to docs/
            served = server.get(f"/extensions/ComfyUI-IQA-Adapter/docs/{picture}")
            assert Image.open(io.BytesIO(served)).width > 200


def test_a_graph_is_sampled_and_obeys_its_inputs(latent_of):
    high = latent_of(GRAPH)
    assert high.isfinite().all()
    assert torch.equal(high, latent_of(changed("save", filename_prefix="again")))
    assert not torch.equal(high, latent_of(changed("embed", quality=1.0)))
    plain = latent_of(changed("sample", model=["model", 0]))
    assert not torch.equal(high, plain)
    assert torch.equal(plain, latent_of(changed("apply", strength=0.0)))


def test_the_request_is_told_in_words(server, tiny):
    graph = changed("embed", targets="laion_aes=+1.5z", negative="percentile", negative_strength=1.0)
    graph["show"] = {"class_type": "PreviewAny", "inputs": {"source": ["embed", 1]}}
    (text,) = server.run(graph)["outputs"]["show"]["text"]
    assert text.startswith("topiq_nr = 0.7479 (better than 99 %, +2.01z), laion_aes = 5.513 (better than 93.")
    assert text.endswith("negative: percentile 1")


def test_a_conditioning_with_its_own_quality(latent_of):
    low = changed("embed", quality=1.0)["embed"]
    graph = changed("sample", positive=["own", 0])
    graph["low"] = low
    graph["own"] = {
        "class_type": "IQAConditioningQuality",
        "inputs": {"conditioning": ["model", 1], "iqa_embeds": ["low", 0]},
    }
    assert torch.equal(latent_of(graph), latent_of(changed("embed", quality=1.0)))


@pytest.mark.parametrize("name", ["../secret.safetensors", "/etc/passwd", "missing.safetensors"])
def test_names_outside_the_folder_are_refused(server, tiny, name):
    with pytest.raises(GraphRefused, match="There is no .* in models/iqa_adapter/; found there: .*tiny.safetensors"):
        server.queue(changed("adapter", adapter_name=name))


@pytest.mark.parametrize(
    ("node", "inputs", "message"),
    [
        ("model", {"family": "SSD-1B"}, r"made for .*16 .* connected model is .*34"),
        ("model", {"family": "DiT"}, r"made for .*16 .* connected model is Flux \(2 attention layers"),
        ("embed", {"targets": "topik=p5"}, "Unknown metric 'topik'.*Did you mean topiq_nr"),
        ("embed", {"targets": "topiq_nr=p120"}, r"outside 0\.\.\.100"),
        ("embed", {"targets": "topiq_nr=nan"}, "cannot be read"),
        ("apply", {"start_percent": 0.8, "end_percent": 0.2}, "must not be above end_percent"),
        ("apply", {"layer_weighting": "custom", "layer_multipliers": "input.3=1"}, "names no layer.*input.1"),
        ("adapter", {"adapter_name": "broken.safetensors"}, "truncated"),
        ("adapter", {"adapter_name": "bare.safetensors"}, "does not say which metrics"),
        ("adapter", {"adapter_name": "bare.safetensors", "metrics": "topik_nr"}, "Did you mean topiq_nr"),
        ("adapter", {"adapter_name": "nan.safetensors"}, "NaN or infinity in the weights of .* layer 7"),
    ],
)
def test_bad_input_ends_in_one_sentence_before_sampling(server, tiny, adapter_folder, node, inputs, message):
    write_bad_files(adapter_folder, tiny)
    graph = changed(node, **inputs)
    error = server.error_of(graph).strip()
    assert re.search(message, error), error
    assert "\n" not in error
    assert "Traceback" not in error


def write_bad_files(folder, adapter):
    good = (folder / "tiny.safetensors").read_bytes()
    if not (folder / "broken.safetensors").exists():
        (folder / "broken.safetensors").write_bytes(good[: len(good) // 2])
        save_file(load_file(folder / "tiny.safetensors"), folder / "bare.safetensors")
        layers = list(adapter.layers)
        layers[3] = LayerWeights(layers[3].key * float("nan"), layers[3].value)
        bad = Adapter("nan", adapter.metadata, adapter.projection, tuple(layers))
        checkpoint.save_adapter(bad, folder / "nan.safetensors")


def test_quality_sliders_have_their_range(server, tiny):
    with pytest.raises(GraphRefused, match="bigger than max"):
        server.queue(changed("embed", quality=101.0))


def test_missing_help_pages_are_errors(server):
    with pytest.raises(urllib.error.HTTPError):
        server.get("/extensions/ComfyUI-IQA-Adapter/docs/Nothing.md")
