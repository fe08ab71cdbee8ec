"""Separability of distortions and contents finds what is in the features, and only that."""

import dataclasses

import pytest
import torch
from comfy.model_patcher import ModelPatcher
from torch import nn

from iqa_adapter.evaluation import separability
from iqa_adapter.iqa_models import catalogue, loading

DISTORTION = torch.arange(4).repeat_interleave(30)
CONTENT = torch.arange(6).repeat(20)


def one_hot(labels):
    return torch.nn.functional.one_hot(labels).float()


def noise(seed=0):
    return torch.randn(len(CONTENT), 3, generator=torch.Generator().manual_seed(seed))


def test_features_of_the_distortion_alone():
    result = separability.separability(torch.cat([one_hot(DISTORTION), 0.1 * noise()], 1), DISTORTION, CONTENT)
    assert result.distortion == 1 and result.content < 0.35
    assert (result.distortion_chance, result.content_chance) == (1 / 4, 1 / 6)


def test_features_of_the_content_alone():
    result = separability.separability(torch.cat([one_hot(CONTENT), 0.1 * noise()], 1), DISTORTION, CONTENT)
    assert result.content == 1 and result.distortion < 0.4


def test_features_of_nothing_are_at_chance():
    result = separability.separability(noise(), DISTORTION, CONTENT)
    assert result.distortion < 0.4 and result.content < 0.35


class Statistics(nn.Module):
    """``texture``: logarithms of local differences at three scales; ``colour``: the mean colour."""

    def __init__(self):
        super().__init__()
        self.texture, self.colour = nn.Identity(), nn.Identity()

    def forward(self, images):
        self.colour(images.mean((2, 3)))
        scales = []
        for step in (1, 2, 8):
            for channels in (images, images.diff(dim=1)):  # light, and what colours do apart from it
                across, down = channels.diff(step, dim=3), channels.diff(step, dim=2)
                scales += [across.abs().mean((1, 2, 3)), down.abs().mean((1, 2, 3)), across.abs().amax((1, 2, 3))]
        return self.texture(torch.stack(scales, 1).clamp_min(1e-4).log()).mean(1)


@pytest.fixture(scope="module")
def statistics():
    device = torch.device("cpu")
    entry = dataclasses.replace(catalogue.find("cnniqa"), layer=catalogue.FeatureLayer("texture", 18, True))
    return loading.IQAModel(entry, ModelPatcher(loading.ScoringModel(Statistics()), device, device))


def test_photos_on_a_net_whose_features_are_known(statistics):
    source, texture = separability.measure(statistics, side=96, per_photo=2)
    _, colour = separability.measure(statistics, "colour", side=96, per_photo=2)
    assert texture.distortion > 2 * texture.distortion_chance  # texture shows distortions
    assert texture.distortion > colour.distortion + 0.2
    assert colour.content > texture.content + 0.2  # colour shows contents
    assert source == "cnniqa, layer texture, pooling none"


def test_patches_are_balanced_and_repeatable():
    images, distortion, content = separability.distorted_patches(64, 2, seed=1)
    again, _, _ = separability.distorted_patches(64, 2, seed=1)
    assert torch.equal(images, again) and images.shape[1:] == (64, 64, 3)
    assert images.min() >= 0 and images.max() <= 1
    counts = torch.zeros(distortion.max() + 1, content.max() + 1).index_put_((distortion, content), torch.ones(1), True)
    assert (counts == 2).all() and counts.shape[1] == 12
