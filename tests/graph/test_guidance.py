"""Gradient guidance on the quickstart model: the score goes where it is sent, and nothing else changes."""

import nodes
import pytest
import torch

from iqa_adapter.guidance import gradient
from iqa_adapter.iqa_models.loading import load_iqa_model
from iqa_adapter.iqa_models.scoring import score_images
from iqa_adapter.quickstart.model import load_quickstart


@pytest.fixture(scope="module")
def quickstart():
    return load_quickstart()


@pytest.fixture(scope="module")
def iqa_model():
    with torch.inference_mode():  # as in a running graph
        return load_iqa_model("quickstart_iqa")


def draw(quickstart, model, steps=6):
    """Four pictures as a graph draws them, in inference mode."""
    _, clip, vae = quickstart
    with torch.inference_mode():
        positive, negative = (nodes.CLIPTextEncode().encode(clip, text)[0] for text in ("a red circle on leaves", ""))
        latent = {"samples": torch.zeros(4, 12, 32, 32)}
        sample = nodes.KSampler().sample
        result = sample(model, 1, steps, 2.0, "euler", "normal", positive, negative, latent)[0]["samples"]
        return result, vae.decode(result)


def score(iqa_model, pictures):
    return score_images([iqa_model], pictures).values.mean().item()


def test_score_goes_up_or_down_as_asked(quickstart, iqa_model):
    scores = {}
    for name, scale, maximise in (("none", 0.0, True), ("up", 0.3, True), ("down", 0.3, False)):
        model = gradient.apply_gradient_guidance(
            quickstart[0], quickstart[2], iqa_model, scale, end_percent=0.9, maximise=maximise
        )
        scores[name] = score(iqa_model, draw(quickstart, model)[1])
    assert scores["down"] < scores["none"] - 0.01 and scores["none"] + 0.01 < scores["up"]


@pytest.mark.parametrize("options", [{"scale": 0.0}, {"scale": 5.0, "start_percent": 0.55, "end_percent": 0.59}])
def test_without_effect_the_result_is_bit_identical(quickstart, iqa_model, options):
    model, _, vae = quickstart
    guided = gradient.apply_gradient_guidance(model, vae, iqa_model, **options)
    assert torch.equal(draw(quickstart, guided)[0], draw(quickstart, model)[0])


@pytest.mark.parametrize(("every", "expected"), [(1, 6), (2, 3), (4, 2)])
def test_every_nth_step_is_guided(quickstart, iqa_model, monkeypatch, every, expected):
    calls = []
    own = gradient.GradientGuidance.gradient
    monkeypatch.setattr(gradient.GradientGuidance, "gradient", lambda self, *a: (calls.append(1), own(self, *a))[1])
    model, _, vae = quickstart
    draw(quickstart, gradient.apply_gradient_guidance(model, vae, iqa_model, 1.0, every=every))
    assert len(calls) == expected


def test_the_given_model_stays_unguided(quickstart, iqa_model):
    model, _, vae = quickstart
    gradient.apply_gradient_guidance(model, vae, iqa_model, 1.0)
    assert "sampler_post_cfg_function" not in model.model_options
    assert not model.get_nested_additional_models()


def test_metrics_without_gradient_and_empty_ranges_are_refused(quickstart, iqa_model):
    model, _, vae = quickstart
    with pytest.raises(ValueError, match="entropy has no gradient.*learned metric"):
        gradient.apply_gradient_guidance(model, vae, load_iqa_model("entropy"), 1.0)
    with pytest.raises(ValueError, match="must lie below"):
        gradient.apply_gradient_guidance(model, vae, iqa_model, 1.0, 0.5, 0.5)
