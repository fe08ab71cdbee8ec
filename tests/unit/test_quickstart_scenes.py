"""Scenes and distortions: repeatable, held-out sets disjoint, every attribute visible, severity monotone."""

import itertools

import numpy as np
import pyiqa
import pytest
import torch

from iqa_adapter.pictures import distortions
from iqa_adapter.quickstart import rendering, text_encoder
from iqa_adapter.quickstart import world as scenes


def pictures(count, first=0):
    stack = np.stack([rendering.render(scenes.sample_scene(seed)) for seed in range(first, first + count)])
    return torch.from_numpy(stack).movedim(-1, 1).float() / 255


def test_a_seed_always_gives_the_same_scene():
    one, two = (scenes.sample_scene(123) for _ in range(2))
    assert one == two
    assert np.array_equal(rendering.render(one), rendering.render(two))
    assert scenes.caption(one, 4) == scenes.caption(two, 4)
    assert not np.array_equal(rendering.render(one), rendering.render(scenes.sample_scene(124)))


def test_training_never_shows_a_held_out_combination():
    shown = {thing for seed in range(4000) for thing in scenes.sample_scene(seed).things}
    assert shown == set(scenes.SEEN_THINGS)
    assert shown.isdisjoint(scenes.HELD_OUT_THINGS)
    assert len(scenes.HELD_OUT_THINGS) == len(scenes.THINGS) // 8


def test_every_pair_of_attributes_is_seen_in_training():
    for fields in (("colour", "shape"), ("colour", "surface"), ("shape", "surface")):
        pairs = [{tuple(getattr(t, f) for f in fields) for t in group} for group in (scenes.SEEN_THINGS, scenes.THINGS)]
        assert pairs[0] == pairs[1]


def test_held_out_seeds_are_other_seeds():
    assert scenes.TRAINING_SEEDS.stop <= scenes.HELD_OUT_SEEDS.start


@pytest.mark.parametrize("field", ["colour", "shape", "surface"])
def test_each_attribute_of_an_object_changes_the_picture(field):
    values, seen = {getattr(thing, field) for thing in scenes.THINGS}, set()
    for value in values:
        thing = scenes.Thing(**{"colour": "red", "shape": "circle", "surface": "plain", field: value})
        seen.add(rendering.render(scenes.Scene((thing,), "gray", "gradient", 7)).tobytes())
    assert len(seen) == len(values)


def test_objects_are_fully_inside_and_do_not_touch():
    for seed in range(300):
        rng = np.random.default_rng(seed)
        (x1, _, r1), (x2, _, r2) = layout = rendering._layout(2, rng)
        assert x1 + r1 <= x2 - r2
        assert all(r <= x <= 64 - r and r <= y <= 64 - r for x, y, r in layout)


def test_captions_use_only_the_vocabulary_and_fit():
    for seed in range(500):
        scene = scenes.sample_scene(seed)
        for text in (scenes.caption(scene, 0), scenes.prompt(scene)):
            (tokens,) = text_encoder.tokenize([text])
            assert text_encoder.UNKNOWN not in tokens, text
            assert len(tokens) == text_encoder.MAX_TOKENS and text_encoder.END in tokens
            assert all(thing.colour in text and thing.shape in text for thing in scene.things)


def test_captions_vary():
    assert len({scenes.caption(scenes.sample_scene(5), variant) for variant in range(100)}) > 20


def test_clean_scenes_have_fine_detail_to_lose():
    """Halving the resolution of a clean picture costs a visible error."""
    clean = pictures(24)
    small = torch.nn.functional.interpolate(clean, scale_factor=0.5, mode="area")
    back = torch.nn.functional.interpolate(small, scale_factor=2, mode="bilinear")
    assert (clean - back).square().mean().sqrt() > 0.04


@pytest.mark.parametrize("kind", distortions.KINDS)
def test_severity_is_continuous_monotone_and_starts_at_nothing(kind):
    gmsd = pyiqa.create_metric("gmsd", device="cpu")
    clean = pictures(12)
    levels = [0.0, 0.25, 0.5, 0.75, 1.0]
    outputs = [distortions.distort(clean, kind, s, torch.Generator().manual_seed(3)) for s in levels]
    assert torch.equal(outputs[0], clean)
    assert all(o.shape == clean.shape and o.min() >= 0 and o.max() <= 1 for o in outputs)
    if kind == "clean":
        assert torch.equal(outputs[-1], clean)
        return
    errors = [gmsd(output, clean).mean().item() for output in outputs]
    assert all(less < more for less, more in itertools.pairwise(errors)), errors


def test_severity_of_each_picture_is_its_own():
    clean = pictures(3)
    severity = torch.tensor([0.0, 0.5, 1.0])
    error = (distortions.distort(clean, "gaussian_blur", severity) - clean).square().mean((1, 2, 3))
    assert error[0] == 0 and error[1] > 0 and error[2] > 0


def test_blur_is_on_the_scale_of_the_picture():
    """The same severity costs a picture and its enlargement about the same."""
    small = pictures(4)
    large = torch.nn.functional.interpolate(small, scale_factor=4, mode="bicubic").clamp(0, 1)
    costs = [(distortions.distort(x, "gaussian_blur", 0.6) - x).square().mean() for x in (small, large)]
    assert costs[1] == pytest.approx(costs[0], rel=0.25)


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="fog.*gaussian_blur"):
        distortions.distort(pictures(1), "fog", 0.5)
    with pytest.raises(ValueError, match=r"0…1"):
        distortions.distort(pictures(1), "jpeg", 1.5)
