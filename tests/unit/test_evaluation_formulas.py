"""Formulas of the evaluation answer what they are defined for; dead leaves are pictures with detail."""

import dataclasses

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from iqa_adapter.evaluation import formulas, measures, statistics
from iqa_adapter.pictures.distortions import KINDS as kinds
from iqa_adapter.pictures.distortions import distort
from iqa_adapter.quickstart import world as scenes
from iqa_adapter.quickstart.making import iqa
from iqa_adapter.quickstart.making.procedural import dead_leaves
from iqa_adapter.quickstart.rendering import render

MEASURES = ("sharpness", "contrast", "noise", "blockiness", "piqe")


def closeness(name, pictures, clean, seeds=4):
    """``[prompts]``, of pictures that stand prompt by prompt."""
    of = measures.find_measure(name, "as is").of
    return formulas.closeness(*(of(each).unflatten(0, (-1, seeds)).numpy() for each in (pictures, clean)))


def leaves_pictures(count):
    """``[count, 3, 64, 64]`` in 0…1."""
    return torch.from_numpy(np.stack([dead_leaves(seed) for seed in range(count)])).movedim(-1, 1).float() / 255


@pytest.fixture(scope="module")
def clean():
    return leaves_pictures(24)


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
    bad = closeness(name, distorted(clean, kind), clean)
    assert statistics.gain(bad, np.ones(1)) < -0.2


@pytest.mark.parametrize("name", MEASURES)
def test_a_clean_picture_is_as_near_as_can_be(clean, name):
    assert closeness(name, clean, clean) == pytest.approx(np.ones(len(clean) // 4))


@pytest.fixture(scope="module")
def ranked():
    """40 held-out prompts: four distorted scenes, four clean ones with other seeds, mean full-reference quality."""
    first = scenes.HELD_OUT_SEEDS[30_000]
    prompts = [scenes.sample_scene(first + i, two_objects=0) for i in range(40) for _ in range(4)]

    def drawn(start):
        pictures = [render(dataclasses.replace(scene, seed=first + start + i)) for i, scene in enumerate(prompts)]
        return torch.from_numpy(np.stack(pictures)).movedim(-1, 1).float() / 255

    intact, generator = drawn(1000), torch.Generator().manual_seed(3)
    severity = torch.rand(40, generator=generator)
    parts = enumerate(intact.split(4))
    bad = torch.cat([distort(part, kinds[i % 8], severity[i].expand(4), generator) for i, part in parts])
    return bad, drawn(2000), iqa.QualityTarget()(bad, intact).view(40, 4).mean(1)


@pytest.mark.parametrize(
    ("name", "correlation"),
    [("sharpness", 0.7), ("contrast", 0.4), ("noise", 0.6), ("blockiness", 0.1), ("piqe", 0.1)],
)
def test_measure_ranks_distorted_scenes_by_quality(ranked, name, correlation):
    bad, clean, target = ranked
    assert spearmanr(closeness(name, bad, clean), target).statistic > correlation


def test_dead_leaves_are_deterministic_and_differ():
    first, again = leaves_pictures(3), leaves_pictures(3)
    assert torch.equal(first, again)
    assert (first[0] - first[1]).abs().mean() > 0.02
    assert first.flatten(1).std(1).min() > 0.02
