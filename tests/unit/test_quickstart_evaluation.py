"""Measures of the evaluation answer what they are defined for; dead leaves are pictures with detail."""

import pytest
import torch
from scipy.stats import spearmanr

from comfyui_runtime import room

measures, leaves, iqa = (room(f"quickstart.{name}") for name in ("measures", "dead_leaves", "iqa"))
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
def test_measure_moves_away_from_the_clean_pictures(clean, name, kind):
    bad = measures.closeness(name, distorted(clean, kind), clean)
    assert measures.gain(bad.mean().item(), 1.0) < -0.2


@pytest.mark.parametrize("name", measures.UNTRAINED)
def test_a_clean_picture_is_as_near_as_can_be(clean, name):
    assert measures.closeness(name, clean, clean) == pytest.approx(torch.ones(len(clean)))


@pytest.mark.parametrize("name", measures.UNTRAINED)
def test_measure_ranks_distorted_scenes_by_quality(name):
    """Held-out scenes with every distortion, against full-reference quality."""
    scenes = iqa.render_seeds(room("quickstart.scenes").HELD_OUT_SEEDS[30_000:30_120])
    mixed = room("quickstart.distortions").distort_randomly(scenes, 1 / 8, torch.Generator().manual_seed(3))[0]
    closeness, target = measures.closeness(name, mixed, scenes), iqa.QualityTarget()(mixed, scenes)
    assert spearmanr(closeness, target, nan_policy="omit").statistic > 0.35


def test_dead_leaves_are_deterministic_and_differ():
    first, again = leaves.dead_leaves_pictures(range(3)), leaves.dead_leaves_pictures(range(3))
    assert torch.equal(first, again)
    assert (first[0] - first[1]).abs().mean() > 0.02
    assert first.flatten(1).std(1).min() > 0.02


def test_gain_is_relative_to_the_base_model():
    assert measures.gain(0.6, 0.5) == pytest.approx(0.2)
