"""Search, gradient guidance and selection in graphs on the real server, with the quickstart's models."""

import copy

import pytest
import torch
from safetensors.torch import load_file

GRAPH = {
    "base": {"class_type": "IQAQuickstartModel", "inputs": {"batch_size": 1}},
    "prompt": {"class_type": "CLIPTextEncode", "inputs": {"clip": ["base", 1], "text": "a dotted pink ring"}},
    "metric": {"class_type": "IQAModelLoader", "inputs": {"metric": "quickstart_iqa"}},
    "aside": {"class_type": "IQAModelLoader", "inputs": {"metric": "entropy"}},
    "sampler": {"class_type": "KSamplerSelect", "inputs": {"sampler_name": "euler_ancestral"}},
    "sigmas": {"class_type": "BasicScheduler",
               "inputs": {"model": ["base", 0], "scheduler": "karras", "steps": 4, "denoise": 1.0}},
    "search": {"class_type": "IQASearch",
               "inputs": {"iqa_model": ["metric", 0], "check_with": ["aside", 0], "sampler": ["sampler", 0],
                          "sigmas": ["sigmas", 0], "latent_image": ["base", 3], "vae": ["base", 2],
                          "method": "successive halving", "budget": 4, "keep": 1, "seed": 3, "cfg": 1.0,
                          "protocol": "as is",
                          "model": ["base", 0], "positive": ["prompt", 0]}},
    "guider": {"class_type": "BasicGuider", "inputs": {"model": ["base", 0], "conditioning": ["prompt", 0]}},
    "again": {"class_type": "SamplerCustomAdvanced",
              "inputs": {"noise": ["search", 3], "guider": ["guider", 0], "sampler": ["sampler", 0],
                         "sigmas": ["sigmas", 0], "latent_image": ["base", 3]}},
    "score": {"class_type": "IQAScoreImages",
              "inputs": {"iqa_model": ["metric", 0], "images": ["search", 1], "protocol": "as is", "batch_size": 0}},
    "best": {"class_type": "IQASelectBest",
             "inputs": {"images": ["search", 1], "iqa_scores": ["search", 2], "count": 1, "latent": ["search", 0],
                        "thresholds": "quickstart_iqa=-9"}},
    "save": {"class_type": "SaveLatent", "inputs": {"samples": ["best", 2], "filename_prefix": "found"}},
    "save again": {"class_type": "SaveLatent", "inputs": {"samples": ["again", 0], "filename_prefix": "again"}},
    "plot": {"class_type": "PreviewImage", "inputs": {"images": ["search", 5]}},
}  # fmt: skip


def latent(server, outputs, node):
    saved = outputs[node]["latents"][0]
    return load_file(server.log.parent / saved["subfolder"] / saved["filename"])["latent_tensor"]


def test_what_a_search_finds_is_drawn_again_by_its_noise(server):
    outputs = server.outputs_of(GRAPH)
    assert torch.equal(latent(server, outputs, "save"), latent(server, outputs, "save again"))
    (text,) = outputs["search"]["text"]
    assert text.startswith("successive halving: ") and "quickstart_iqa" in text and "entropy, which was set" in text
    assert len(outputs["search"]["images"]) == len(outputs["plot"]["images"]) == 1
    with_guider = copy.deepcopy(GRAPH)
    for name in ("model", "positive"):
        del with_guider["search"]["inputs"][name]
    with_guider["search"]["inputs"] |= {"guider": ["guider", 0], "batch_size": 4}
    found = latent(server, server.outputs_of(with_guider), "save")
    assert torch.allclose(found, latent(server, outputs, "save"), atol=1e-4)


def test_guidance_is_recorded(server):
    graph = {name: GRAPH[name] for name in ("base", "prompt", "metric", "aside", "sampler", "sigmas")}
    graph |= {
        "guided": {"class_type": "IQAGradientGuidance",
                   "inputs": {"model": ["base", 0], "vae": ["base", 2], "iqa_model": ["metric", 0], "scale": 1.0,
                              "direction": "better", "start_percent": 0.0, "end_percent": 1.0, "every": 1,
                              "check_with": ["aside", 0], "route": "through the model", "decode": "tiles"}},
        "guider": {"class_type": "BasicGuider", "inputs": {"model": ["guided", 0], "conditioning": ["prompt", 0]}},
        "noise": {"class_type": "RandomNoise", "inputs": {"noise_seed": 1}},
        "sample": {"class_type": "SamplerCustomAdvanced",
                   "inputs": {"noise": ["noise", 0], "guider": ["guider", 0], "sampler": ["sampler", 0],
                              "sigmas": ["sigmas", 0], "latent_image": ["base", 3]}},
        "record": {"class_type": "IQAGuidanceRecord",
                   "inputs": {"record": ["guided", 1], "latent": ["sample", 0]}},
    }  # fmt: skip
    (text,) = server.outputs_of(graph)["record"]["text"]
    assert text.count("step ") == 4 and "entropy, which was set aside" in text


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"budget": 3, "keep": 3}, "A budget of 3 samplings leaves nothing to choose where 3 pictures are kept"),
        ({"cfg": 3.0}, "A cfg of 3 needs a negative conditioning"),
        ({"thresholds": "quickstart_iqa=p50"}, "none are known of quickstart_iqa"),
        ({"check_with": ["metric", 0]}, "check with is quickstart_iqa, which is searched for"),
    ],
)
def test_wrong_inputs_end_in_one_sentence(server, inputs, message):
    graph = copy.deepcopy(GRAPH)
    graph["search"]["inputs"] |= inputs
    error = server.error_of(graph).strip()
    assert error.startswith(message) or message in error, error
    assert "\n" not in error
