"""Workflows for checkpoints do what they claim, measured where the quickstart draws."""

import pytest
import torch
from workflow_runs import Run, changed, graph_of, quality, roughness, run

BLURRED = {"distortion": "gaussian_blur", "severity": 0.6}
CLEAN = {"distortion": "clean", "severity": 0.0}


@pytest.mark.parametrize("name", ["sd15_quality_sliders", "sdxl_quality_sliders"])
def test_the_slider_sets_the_quality(server, name):
    levels = []
    for level in (1, 50, 99):
        asked = {"quality": level, "aesthetics": 50}
        done = Run(server, changed(graph_of(name), **{"Quality_(simple)": asked}))
        levels += quality(done.pictures("Save the picture"))
    assert levels == sorted(levels) and levels[-1] > levels[0] + 0.2, levels


def test_a_photo_is_restored_and_degraded(server):
    restored, degraded = (
        Run(server, changed(graph_of("restore_or_degrade_photo"), Your_photo=photo, **{"Quality_(simple)": preset}))
        for photo, preset in ((BLURRED, {"preset": "best"}), (CLEAN, {"preset": "worst"}))
    )
    (before,), (after,) = (quality(restored.pictures("Before and After", key)) for key in ("a_images", "b_images"))
    assert after > before + 0.1
    (before,), (after,) = (quality(degraded.pictures("Before and After", key)) for key in ("a_images", "b_images"))
    assert after < before - 0.1


def test_the_edit_takes_the_blur_of_the_reference_and_keeps_the_picture(server):
    blurred = {"picture": "cat", "distortion": "motion_blur", "severity": 0.9}
    done = Run(server, changed(graph_of("reference_quality_onto_edit"), Reference=blurred))
    plain, edited = (done.pictures("Before and After", key) for key in ("a_images", "b_images"))
    assert (roughness(edited) < 0.8 * roughness(plain)).all()
    assert (edited - plain).abs().mean() < 0.15


def test_the_grid_follows_both_requests(server):
    scores = run(server, "quality_aesthetics_grid").result("Score Images", "scores")[0]["quickstart_iqa"]
    rows = torch.tensor(scores).view(3, 3).mean(1)
    assert rows.tolist() == sorted(rows.tolist()) and rows[2] > rows[0] + 0.2
    assert "\u03c1 1.00" in run(server, "quality_aesthetics_grid").result("Response Curve", "text")[0]


def test_the_left_half_is_the_better_one(server):
    before, after = (
        run(server, "two_regions_two_qualities").pictures("Before and After", key) for key in ("a_images", "b_images")
    )
    half = before.shape[2] // 2
    gain = [roughness(after[:, :, part]) / roughness(before[:, :, part]) for part in (slice(half), slice(half, None))]
    assert gain[0] > 1.2 * gain[1], gain


def test_the_second_pass_enlarges_and_improves(server):
    done = run(server, "upscale_with_quality")
    before, after = (done.pictures("Before and After", key) for key in ("a_images", "b_images"))
    assert after.shape == before.shape
    assert quality(after)[0] > quality(before)[0]


def test_the_map_finds_the_blurred_part_which_is_redrawn(server):
    """The left half is blurred by a node in between; the mask is to lie there, and the rest of the photo to stay."""
    graph = changed(graph_of("repair_the_worst_part"), Quality_Map={"share": 0.4}, Your_photo=CLEAN)
    number = {node["_meta"]["title"]: number for number, node in graph.items()}
    photo = number["To the model's size"]
    for node in graph.values():
        node["inputs"] |= {name: ["blurred", 0] for name, value in node["inputs"].items() if value == [photo, 0]}
    masks = {"whole": {"value": 0.0, "width": 64, "height": 64}, "half": {"value": 1.0, "width": 32, "height": 64}}
    graph |= {
        name: {"class_type": "SolidMask", "inputs": inputs, "_meta": {"title": name}} for name, inputs in masks.items()
    }
    graph["left"] = {
        "class_type": "MaskComposite",
        "inputs": {"destination": ["whole", 0], "source": ["half", 0], "x": 0, "y": 0, "operation": "add"},
        "_meta": {"title": "left"},
    }
    graph["blurred"] = {
        "class_type": "IQADistortImages",
        "inputs": {"images": [photo, 0], "kind": "blur", "severity": 0.8, "seed": 0, "mask": ["left", 0]},
        "_meta": {"title": "blurred"},
    }
    done = Run(server, graph)
    before, after = (done.pictures("Before and After", key)[0] for key in ("a_images", "b_images"))
    changed_pixels = ((before - after).abs().amax(-1) > 0.02).float()
    assert changed_pixels[:, :32].sum() > 4 * changed_pixels[:, 32:].sum()
    assert roughness(after[:, :32]) > 1.2 * roughness(before[:, :32])


def test_guidance_and_adapter_raise_the_score(server):
    ((neither, guided, adapted),) = run(server, "gradient_guidance").result("Score Images", "scores")[0].values()
    assert guided > neither and adapted > neither
