"""Workflows for checkpoints do what they claim, measured where the quickstart draws."""

import re

import pytest
import torch
from transformer_models import random_adapter, transformer
from workflow_runs import Run, changed, graph_of, quality, roughness, run, saved_graph

from iqa_adapter.adapter.checkpoint import save_adapter
from iqa_adapter.quality.statistics import cc3m_statistics
from iqa_adapter.quickstart import model
from iqa_adapter.quickstart.adapters import SCORE

BLURRED = {"distortion": "gaussian_blur", "severity": 0.6}
CLEAN = {"distortion": "clean", "severity": 0.0}


SLIDERS = ["sd15_quality_sliders", "sdxl_quality_sliders", "flux_quality_sliders", "z_image_quality_sliders"]


@pytest.mark.parametrize("name", SLIDERS)
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
    """Apart from each other: the quickstart draws well at its own size only."""
    few = {title: {"steps": 1} for title in ("First_pass", "Second_pass_at_quality_99")}
    enlarged = Run(server, changed(graph_of("upscale_with_quality"), Upscale_Latent_By={"scale_by": 1.5}, **few))
    assert enlarged.pictures("Save the picture").shape[1:3] == (96, 96)
    done = run(server, "upscale_with_quality")
    before, after = (quality(done.pictures("Before and After", key))[0] for key in ("a_images", "b_images"))
    assert after > before + 0.2, (before, after)


def test_the_map_finds_the_blurred_part_which_is_redrawn(server):
    """The lower half of the photo is blurred: the mask is to lie there, and the rest of the photo to stay."""
    done = run(server, "repair_the_worst_part")
    before, after = (done.pictures("Before and After", key)[0] for key in ("a_images", "b_images"))
    redrawn = ((before - after).abs().amax(-1) > 0.02).float()
    half = len(before) // 2
    assert redrawn[half:].sum() > 4 * redrawn[:half].sum()
    assert roughness(after[half:]) > 1.2 * roughness(before[half:])


def test_guidance_and_adapter_raise_the_score(server):
    done = run(server, "gradient_guidance")
    kinds = ("of neither", "with guidance", "with the adapter")
    neither, guided, adapted = (done.result(f"Score {kind}", "scores")[0]["quickstart_iqa"][0] for kind in kinds)
    assert guided > neither and adapted > neither
    assert "quickstart_iqa" in done.result("Guidance Record", "text")[0]


def test_what_is_asked_for_by_its_measured_value_is_measured(server, adapter_folder):
    """Few pictures and steps: what is asked for is met roughly, and a higher value gives better pictures."""
    copied = adapter_folder / "swept.safetensors"  # so that no calibration is kept beside the pack's own
    copied.write_bytes((model.WEIGHTS / SCORE.file).read_bytes())
    few = {
        "Load_IQA-Adapter": {"adapter_name": copied.name},
        "Quality_Sweep": {"rows": "1, 30, 40, 45, 99"},
    }
    measured = []
    for asked in (0.6, 0.85):
        target = {"targets": f"quickstart_iqa=measured {asked}"}
        graph = changed(graph_of("quickstart_calibrate"), Ask_for_a_measured_quality=target, **few)
        done = Run(server, graph)
        scores = done.result("Score the result", "scores")[0]["quickstart_iqa"]
        measured.append(sum(scores) / len(scores))
        assert f"measured quickstart_iqa {asked}" in done.result("What was asked for", "text")[0]
    assert measured == pytest.approx([0.6, 0.85], abs=0.2) and measured[1] > measured[0] + 0.1, measured


def test_quality_rises_over_the_frames(server):
    done = Run(server, changed(graph_of("quickstart_quality_schedule"), KSampler={"steps": 8}))
    scores = done.result("Score Images", "scores")[0]["quickstart_iqa"]
    assert sum(scores[-3:]) > sum(scores[:3]) + 0.5, scores
    assert done.result("Response Curve", "text")[0].count(" %: ") >= 9


def test_the_best_of_a_folder_are_copied(server):
    done = run(server, "cull_folder")
    assert done.result("Cull Folder", "text")[0].startswith("12 of 40 pictures are kept")
    assert done.pictures("Save the contact sheet").std() > 0.1
    folder = server.log.parent / "iqa_culled"
    assert len(list(max(folder.iterdir()).glob("*.png"))) == 12


def test_the_search_finds_a_better_picture_than_the_first_seed(server):
    done = run(server, "quickstart_search_best")
    first, best = (
        done.result(f"Score of the {which}", "scores")[0]["quickstart_iqa"][0] for which in ("first", "best")
    )
    assert best > first
    (said,) = done.result("Search Best Pictures", "text")
    assert said.startswith("best of N: 12 noises of 12 steps, 144 evaluations") and "piqe, which was set aside" in said


def test_it_draws_until_4_are_good_and_no_longer(server):
    done = run(server, "quickstart_until_4_are_good")
    (scores,) = done.result("Score Images", "scores")[0].values()
    assert len(scores) == 4 and min(scores) >= 0.95
    (said,) = done.result("Search Best Pictures", "text")
    assert 4 < int(re.search(r"(\d+) noises", said)[1]) < 32 and "4 of 4 reach quickstart_iqa=0.95" in said


@pytest.mark.parametrize("severity", [0.0, 0.8])
def test_the_drawings_are_as_good_as_the_picture_to_match(server, severity):
    done = Run(server, changed(graph_of("quickstart_match_picture"), Picture_to_match={"severity": severity}))
    titles = ("Score to match", "Scores of the drawings")
    (wanted,), drawn = (done.result(title, "scores")[0]["quickstart_iqa"] for title in titles)
    assert max(abs(each - wanted) for each in drawn) < 0.25, (wanted, drawn)


def test_the_mixture_has_the_noise_that_one_reference_has_over_another(server):
    done = run(server, "quickstart_mix_references")
    pale, mixed = (done.result(f"Noise with {of}", "scores")[0]["noise"][0] for of in ("A", "the mixture"))
    assert mixed > pale + 20, (pale, mixed)


@pytest.mark.parametrize("name", ["z_image_search_and_guidance", "flux_search_and_guidance"])
def test_search_and_guidance_raise_the_score_without_an_adapter(server, name):
    done = Run(server, changed(graph_of(name), Search_Best_Pictures={"budget": 4}))
    kinds = ("of the plain one", "with guidance")
    plain, guided = (done.result(f"Score {kind}", "scores")[0]["quickstart_iqa"][0] for kind in kinds)
    (best,) = quality(done.pictures("Plain and best", "b_images"))
    assert guided > plain and best > plain, (plain, guided, best)


@pytest.mark.parametrize("name", ["flux_reference_transfer", "z_image_reference_transfer"])
def test_the_picture_takes_the_blur_of_the_reference(server, name):
    plain, asked = (roughness(run(server, name).pictures("Before and After", key)) for key in ("a_images", "b_images"))
    assert (asked < 0.8 * plain).all()


@pytest.mark.parametrize("name, family", [("flux_quality_sliders", "Flux"), ("z_image_quality_sliders", "Z-Image")])
def test_a_model_of_the_family_answers_the_slider(server, adapter_folder, name, family):
    """A narrow one with random weights, and a random adapter: every request has its own picture, strength 0 none."""
    graph = with_tiny_transformer(saved_graph(name), family)
    quality_node = next(node["inputs"] for node in graph.values() if node["class_type"] == "IQAQuality")
    metrics = (cc3m_statistics()["topiq_nr"].to_json(),)
    save_adapter(random_adapter(transformer(family), metrics=metrics), adapter_folder / quality_node["adapter_name"])
    drawn = []
    for request in ({"quality": 99.0}, {"quality": 1.0}, {"strength": 0.0}):
        quality_node.update(request)
        done = Run(server, graph)
        drawn.append(done.pictures("Before and After", "b_images"))
    plain = done.pictures("Before and After", "a_images")
    assert torch.equal(drawn[2], plain)
    assert not torch.equal(drawn[0], drawn[1]) and not torch.equal(drawn[0], plain)


def with_tiny_transformer(graph: dict, family: str) -> dict:
    """The graph with a narrow model in place of the family's files, for pictures of 12 x 8 pixels in two steps."""
    places = {"UNETLoader": 0, "CLIPTextEncode": 1, "ConditioningZeroOut": 2}
    taken = {number: places[node["class_type"]] for number, node in graph.items() if node["class_type"] in places}
    files = ("CLIPLoader", "DualCLIPLoader", "VAELoader")
    kept = {number: node for number, node in graph.items() if number not in taken and node["class_type"] not in files}
    kept["tiny"] = {"class_type": "TestTinyTransformer", "inputs": {"family": family}, "_meta": {"title": "tiny"}}
    for node in kept.values():
        links = {key: value for key, value in node["inputs"].items() if isinstance(value, list) and value[0] in taken}
        node["inputs"] |= {key: ["tiny", taken[number]] for key, (number, _) in links.items()}
        if node["class_type"] == "VAEDecode":
            node.update(class_type="TestLatentPicture", inputs={"samples": node["inputs"]["samples"]})
        if node["class_type"] == "EmptySD3LatentImage":
            node["inputs"].update(width=96, height=64)
        if node["class_type"] == "KSampler":
            node["inputs"].update(steps=2)
    return kept
