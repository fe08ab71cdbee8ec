"""Nodes for people who do not know the paper, in graphs on the real server, with the quickstart's models."""

import copy

import pytest
import torch
from node_texts import texts_at_node
from safetensors.torch import load_file

SAMPLING = {
    "base": {"class_type": "IQAQuickstartModel", "inputs": {"batch_size": 2}},
    "prompt": {"class_type": "CLIPTextEncode",
               "inputs": {"clip": ["base", 1], "text": "a dotted pink ring on teal stripes"}},
    "empty": {"class_type": "CLIPTextEncode", "inputs": {"clip": ["base", 1], "text": ""}},
    "sample": {"class_type": "KSampler",
               "inputs": {"model": ["quality", 0], "positive": ["prompt", 0], "negative": ["empty", 0],
                          "latent_image": ["base", 3], "seed": 1, "steps": 6, "cfg": 3.0, "sampler_name": "euler",
                          "scheduler": "normal", "denoise": 1.0}},
    "decode": {"class_type": "VAEDecode", "inputs": {"samples": ["sample", 0], "vae": ["base", 2]}},
    "metric": {"class_type": "IQAModelLoader", "inputs": {"metric": "quickstart_iqa"}},
    "score": {"class_type": "IQAScoreImages",
              "inputs": {"iqa_model": ["metric", 0], "images": ["decode", 0], "protocol": "as is", "batch_size": 0}},
    "save": {"class_type": "SaveLatent", "inputs": {"samples": ["sample", 0], "filename_prefix": "simple"}},
}  # fmt: skip
QUALITY = {"class_type": "IQAQuality",
           "inputs": {"model": ["base", 0], "adapter_name": "quickstart_score.safetensors", "preset": "best",
                      "quality": 50.0, "aesthetics": 50.0, "strength": 1.25}}  # fmt: skip
FROM_PICTURE = {
    "picture": {"class_type": "IQAQuickstartPicture",
                "inputs": {"picture": "cat", "distortion": "clean", "severity": 0.0, "seed": 0}},
    "reference": {"class_type": "IQADistortImages",
                  "inputs": {"images": ["picture", 0], "kind": "blur", "severity": 0.8, "seed": 0}},
    "quality": {"class_type": "IQAQualityFromPicture",
                "inputs": {"model": ["base", 0], "image": ["reference", 0], "strength": 1.0,
                           "adapter_name": "quickstart_reference.safetensors"}},
}  # fmt: skip
IN_STEPS = {
    "adapter": {"class_type": "IQAAdapterLoader", "inputs": {"adapter_name": "quickstart_reference.safetensors"}},
    "features": {"class_type": "IQAReferenceFeatures",
                 "inputs": {"iqa_model": ["metric", 0], "images": ["reference", 0], "iqa_adapter": ["adapter", 0],
                            "pooling": "auto", "protocol": "auto", "references": "one by one"}},
    "embeds": {"class_type": "IQAReferenceEmbed",
               "inputs": {"iqa_adapter": ["adapter", 0], "iqa_features": ["features", 0]}},
    "quality": {"class_type": "IQAAdapterApply",
                "inputs": {"model": ["base", 0], "iqa_embeds": ["embeds", 0], "strength": 1.0, "start_percent": 0.0,
                           "end_percent": 1.0, "layer_weighting": "all"}},
}  # fmt: skip


def graph(*parts, **inputs):
    """Parts of a graph together; ``node={input: value}`` changes a node."""
    together = copy.deepcopy({name: node for part in parts for name, node in part.items()})
    for name, changed in inputs.items():
        together[name]["inputs"] |= changed
    return together


def latent(server, outputs):
    saved = outputs["save"]["latents"][0]
    return load_file(server.log.parent / saved["subfolder"] / saved["filename"])["latent_tensor"]


def test_presets_draw_better_and_worse_pictures(server):
    simple = graph(SAMPLING, {"quality": QUALITY})
    best = server.outputs_of(simple)
    worst = server.outputs_of(graph(simple, quality={"preset": "worst"}))
    custom = server.outputs_of(graph(simple, quality={"preset": "custom", "quality": 1.0, "aesthetics": 1.0}))
    assert torch.equal(latent(server, worst), latent(server, custom))
    (high,), (low,) = (list(outputs["score"]["scores"][0].values()) for outputs in (best, worst))
    assert sum(high) > sum(low) + 0.4
    assert best["quality"]["text"][0].startswith("quickstart_iqa = ")


def test_quality_from_a_picture_is_what_three_nodes_do(server):
    simple = server.outputs_of(graph(SAMPLING, FROM_PICTURE))
    steps = server.outputs_of(graph(SAMPLING, FROM_PICTURE, IN_STEPS))
    off = server.outputs_of(graph(SAMPLING, FROM_PICTURE, quality={"strength": 0.0}))
    assert torch.equal(latent(server, simple), latent(server, steps))
    assert not torch.equal(latent(server, simple), latent(server, off))
    assert simple["picture"]["images"], "the picture is shown"


@pytest.mark.parametrize(
    ("part", "inputs", "message"),
    [
        ({"quality": QUALITY}, {"adapter_name": "quickstart_reference.safetensors"}, r"Use Quality from Picture \(si"),
        (FROM_PICTURE, {"adapter_name": "quickstart_score.safetensors"}, r"Use Quality \(simple\), or choose"),
    ],
)
def test_the_wrong_kind_of_adapter_names_the_other_node(server, part, inputs, message):
    with pytest.raises(RuntimeError, match=message) as refused:
        server.outputs_of(graph(SAMPLING, part, quality=inputs))
    assert "\n" not in str(refused.value).strip()


def test_an_adapter_of_another_family_is_refused_before_sampling(server):
    tiny = {"base": {"class_type": "TestTinyModel", "inputs": {"family": "SD1.5"}},
            "quality": QUALITY, "show": {"class_type": "PreviewAny", "inputs": {"source": ["quality", 0]}}}  # fmt: skip
    with pytest.raises(RuntimeError, match=r"made for .* but the connected model is"):
        server.outputs_of(graph(tiny))


def test_unknown_words_are_said_at_both_nodes(server):
    changed = {"prompt": {"text": "a dotted dragon"}, "sample": {"steps": 1}, "base": {"batch_size": 1}}  # not cached
    unknown = graph(SAMPLING, {"quality": QUALITY}, **changed)
    said, outputs = texts_at_node(server, unknown, "base")
    assert said[-1].startswith("The quickstart never learnt dragon:") and "moon" in outputs["base"]["text"][0]
    unknown["prompt"]["inputs"]["text"] += " and a wizard"
    said, _ = texts_at_node(server, unknown, "prompt")
    assert said[-1].startswith("The quickstart never learnt dragon, wizard:")
    unknown["prompt"]["inputs"]["text"] = "a moon"
    said, _ = texts_at_node(server, unknown, "base")
    assert said[-1] == "The quickstart knows all words."


def test_map_compare_and_csv(server):
    whole = {
        **{name: node for name, node in FROM_PICTURE.items() if name != "quality"},
        "metric": SAMPLING["metric"],
        "map": {"class_type": "IQAQualityMap",
                "inputs": {"images": ["reference", 0], "iqa_model": ["metric", 0], "select": "share", "share": 0.3,
                           "threshold": 0.5, "window": 32, "stride": 16}},
        "mask": {"class_type": "MaskPreview", "inputs": {"mask": ["map", 1]}},
        "compare": {"class_type": "IQACompare", "inputs": {"before": ["picture", 0], "after": ["reference", 0]}},
        "score": {"class_type": "IQAScoreImages",
                  "inputs": {"iqa_model": ["metric", 0], "images": ["picture", 0], "protocol": "as is",
                             "batch_size": 0, "csv": "scores/mine"}},
    }  # fmt: skip
    outputs = server.outputs_of(whole)
    assert outputs["map"]["text"][0].startswith("quickstart_iqa, windows of 32 pixels every 16\nimage 1: worst ")
    assert outputs["map"]["images"] and outputs["mask"]["images"]
    assert len(outputs["compare"]["a_images"]) == len(outputs["compare"]["b_images"]) == 1
    assert len(outputs["compare"]["images"]) == 2
    assert (server.log.parent / "scores" / "mine_00001_.csv").read_text().startswith("image,quickstart_iqa\n1,")
    assert outputs["score"]["meanings"][0]["name"] == "quickstart_iqa"


def test_wrong_windows_end_in_one_sentence(server):
    small = {
        "picture": FROM_PICTURE["picture"],
        "metric": SAMPLING["metric"],
        "map": {"class_type": "IQAQualityMap",
                "inputs": {"images": ["picture", 0], "iqa_model": ["metric", 0], "window": 100}},
    }  # fmt: skip
    assert server.error_of(small).strip() == (
        "The window of 100 pixels is larger than the pictures, 64x64; make it less."
    )


def test_seeds_stay_as_they_are(server):
    for node in ("IQAQuickstartPicture", "IQADistortImages"):
        required = server.get(f"/object_info/{node}")[node]["input"]["required"]
        assert required["seed"][1]["control_after_generate"] in (False, "fixed")
        assert list(required)[-1] == "seed"
