"""Measures of the evaluation answer what they are defined for; dead leaves are pictures with detail."""

import pytest
import torch

from comfyui_runtime import room

measures, leaves = room("quickstart.measures"), room("quickstart.dead_leaves")
distort = room("quickstart.distortions").distort


@pytest.fixture(scope="module")
def clean():
    return leaves.dead_leaves_pictures(range(24))


def distorted(clean, kind, severity=0.8):
    return distort(clean, kind, severity, torch.Generator().manual_seed(2))


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("sharpness", "gaussian_blur"),
        ("sharpness", "white_noise"),
        ("contrast", "contrast_loss"),
        ("noise", "white_noise"),
        ("blockiness", "jpeg"),
        ("piqe", "gaussian_blur"),
    ],
)
def test_measure_falls_with_the_distortion_it_is_for(clean, name, kind):
    good = measures.UNTRAINED[name](clean, clean).mean().item()
    bad = measures.UNTRAINED[name](distorted(clean, kind), clean).mean().item()
    assert measures.gain(bad, good, name) < -0.2


def test_closeness_measures_are_one_for_the_clean_pictures_themselves(clean):
    assert measures.sharpness(clean, clean) == pytest.approx(torch.ones(len(clean)))
    assert measures.contrast(clean, clean) == pytest.approx(torch.ones(len(clean)))


def test_dead_leaves_are_deterministic_and_differ():
    first, again = leaves.dead_leaves_pictures(range(3)), leaves.dead_leaves_pictures(range(3))
    assert torch.equal(first, again)
    assert (first[0] - first[1]).abs().mean() > 0.02
    assert first.flatten(1).std(1).min() > 0.02


def test_gain_is_positive_for_improvements_in_either_direction():
    assert measures.gain(0.6, 0.5, "sharpness") == pytest.approx(0.2)
    assert measures.gain(40, 50, "piqe") == pytest.approx(0.2)
