"""Sweep, calibration, schedule and culling in graphs on the real server, inside ComfyUI's inference mode."""

import copy

import pytest

from iqa_adapter.quality.calibration_file import read_calibrations
from iqa_adapter.quickstart import model
from iqa_adapter.quickstart.adapters import SCORE

SAMPLING = {"seed": 1, "steps": 4, "cfg": 1.0, "sampler_name": "euler", "scheduler": "normal", "denoise": 1.0}
MODELS = {
    "base": {"class_type": "IQAQuickstartModel", "inputs": {"batch_size": 4}},
    "adapter": {"class_type": "IQAAdapterLoader", "inputs": {"adapter_name": "calibrated.safetensors"}},
    "prompt": {"class_type": "CLIPTextEncode",
               "inputs": {"clip": ["base", 1], "text": "a dotted pink ring on teal stripes"}},
    "empty": {"class_type": "CLIPTextEncode", "inputs": {"clip": ["base", 1], "text": ""}},
    "metric": {"class_type": "IQAModelLoader", "inputs": {"metric": "quickstart_iqa"}},
}  # fmt: skip
SWEEP = {
    "sweep": {"class_type": "IQAQualitySweep",
              "inputs": {"iqa_adapter": ["adapter", 0], "latent": ["base", 3], "rows": "1, 50, 99", "columns": ""}},
}  # fmt: skip
DRAW = {
    "apply": {"class_type": "IQAAdapterApply",
              "inputs": {"model": ["base", 0], "iqa_embeds": ["sweep", 0], "strength": 1.25, "start_percent": 0.0,
                         "end_percent": 1.0, "layer_weighting": "all"}},
    "sample": {"class_type": "KSampler",
               "inputs": {"model": ["apply", 0], "positive": ["prompt", 0], "negative": ["empty", 0],
                          "latent_image": ["sweep", 1], **SAMPLING}},
    "decode": {"class_type": "VAEDecode", "inputs": {"samples": ["sample", 0], "vae": ["base", 2]}},
    "score": {"class_type": "IQAScoreImages",
              "inputs": {"iqa_model": ["metric", 0], "images": ["decode", 0], "protocol": "64", "batch_size": 0}},
}  # fmt: skip
CALIBRATE = {
    "calibrate": {"class_type": "IQACalibrate",
                  "inputs": {"iqa_adapter": ["adapter", 0], "model": ["base", 0], "strength": 1.25}},
}  # fmt: skip
EMBED = {
    "embed": {"class_type": "IQAQualityEmbed",
              "inputs": {"iqa_adapter": ["adapter", 0], "quality": 99.0, "aesthetics": 50.0, "negative": "zero",
                         "negative_strength": 0.5, "calibration": ["calibrate", 0]}},
    "show": {"class_type": "PreviewAny", "inputs": {"source": ["embed", 1]}},
}  # fmt: skip


def graph(*parts, **inputs):
    """Parts of a graph together; ``node={input: value}`` changes a node."""
    together = copy.deepcopy({name: node for part in parts for name, node in part.items()})
    for name, changed in inputs.items():
        together[name]["inputs"] |= changed
    return together


@pytest.fixture(scope="module")
def file(server, adapter_folder):
    """A copy of the quickstart's adapter, so that nothing is written beside the pack's own."""
    copied = adapter_folder / "calibrated.safetensors"
    copied.write_bytes((model.WEIGHTS / SCORE.file).read_bytes())
    return copied


def test_a_sweep_is_calibrated_kept_and_asked_for(server, file):
    made = server.outputs_of(
        graph(MODELS, SWEEP, DRAW, CALIBRATE, calibrate={"iqa_scores": ["score", 0], "requested": ["sweep", 5]})
    )
    assert "kept in" in made["calibrate"]["text"][0] and made["calibrate"]["images"]
    (kept,) = read_calibrations(file.with_name("calibrated.calibration.json"))
    low, high = kept.response("quickstart_iqa").reach
    assert kept.strength == 1.25 and high > low
    wanted = f"quickstart_iqa=measured {(low + high) / 2:.3f}"
    again = server.outputs_of(graph(MODELS, CALIBRATE, EMBED, embed={"targets": wanted}))
    assert "measured quickstart_iqa" in again["show"]["text"][0] and "strength 1.25" in again["show"]["text"][0]
    error = server.error_of(graph(MODELS, CALIBRATE, EMBED, embed={"targets": "quickstart_iqa=measured 1.5"}))
    assert "is out of reach" in error and "\n" not in error.strip()
    error = server.error_of(graph(MODELS, CALIBRATE, EMBED, calibrate={"strength": 2.0}))
    assert "There is no calibration of quality at strength 2" in error


def test_a_schedule_is_sampled_frame_by_frame(server, file):
    schedule = {"class_type": "IQAQualitySchedule",
                "inputs": {"iqa_adapter": ["adapter", 0], "keyframes": "0: 1, 3: 99", "frames": 0, "between": "linear",
                           "latent": ["base", 3]}}  # fmt: skip
    frames = graph(MODELS, {"schedule": schedule}, DRAW,
                   apply={"iqa_embeds": ["schedule", 0]}, sample={"latent_image": ["base", 3]})  # fmt: skip
    (scores,) = server.outputs_of(frames)["score"]["scores"]
    assert scores["quickstart_iqa"][-1] > scores["quickstart_iqa"][0] + 0.1
    error = server.error_of(graph(frames, schedule={"frames": 7}))
    assert "frames says 7, but the latent has 4" in error


def test_a_folder_is_culled(server):
    cull = {
        "pictures": {"class_type": "IQAQuickstartTrainingPictures",
                     "inputs": {"count": 10, "clean": 0.3, "variant": 0}},
        "metric": MODELS["metric"],
        "cull": {"class_type": "IQACullFolder",
                 "inputs": {"pictures": ["pictures", 0], "iqa_model": ["metric", 0], "keep": "best share", "share": 0.3,
                            "count": 1, "threshold": 0.5, "action": "copy", "protocol": "64", "name": "best"}},
    }  # fmt: skip
    output = server.outputs_of(cull)["cull"]
    assert output["text"][0].startswith("3 of 10 pictures are kept") and output["images"]
    folder = server.log.parent / "iqa_culled" / "best_00001"
    assert len(list(folder.glob("*.png"))) == len(list(folder.glob("*.txt"))) == 3 and (folder / "scores.csv").is_file()
