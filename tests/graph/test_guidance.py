"""Gradient guidance on the quickstart model: the score goes where it is sent, and nothing else changes."""

import dataclasses

import nodes
import pytest
import torch

from iqa_adapter.adapter.apply import apply_adapter
from iqa_adapter.adapter.checkpoint import load_adapter
from iqa_adapter.adapter.tokens import embed_quality
from iqa_adapter.guidance import decoding, gradient
from iqa_adapter.guidance.aims import Aim
from iqa_adapter.guidance.decoding import HALF, TILES, WHOLE, Decoding
from iqa_adapter.guidance.gradient import Guidance, apply_gradient_guidance, apply_guidance
from iqa_adapter.guidance.record import Record
from iqa_adapter.iqa_models.loading import load_iqa_model
from iqa_adapter.iqa_models.scoring import score_images
from iqa_adapter.nodes.guidance import IQAGradientGuidance, IQAGuidanceRecord
from iqa_adapter.quickstart.adapters import SCORE
from iqa_adapter.quickstart.model import WEIGHTS, load_quickstart


@pytest.fixture(scope="module")
def quickstart():
    return load_quickstart()


@pytest.fixture(scope="module")
def iqa_model():
    with torch.inference_mode():  # as in a running graph
        return load_iqa_model("quickstart_iqa")


@pytest.fixture(scope="module")
def guided(quickstart, iqa_model):
    """A clone of the quickstart model that this metric guides; ``up=False`` to worse."""

    def make(scale=0.5, up=True, target=None, decode=WHOLE, model=None, check=None, **options):
        aims = (Aim(iqa_model, 1.0, up, target),)
        record = Record.of(aims, check, up)
        guidance = Guidance(aims, Decoding(quickstart[2], decode), scale, record, check=check, **options)
        return apply_guidance(model or quickstart[0], guidance), record

    return make


def draw(quickstart, model, steps=4, pictures=2, sampler="euler", cfg=2.0):
    """Pictures as a graph draws them, in inference mode."""
    _, clip, vae = quickstart
    with torch.inference_mode():
        positive, negative = (nodes.CLIPTextEncode().encode(clip, text)[0] for text in ("a red circle on leaves", ""))
        latent = {"samples": torch.zeros(pictures, 12, 32, 32)}
        sample = nodes.KSampler().sample
        result = sample(model, 1, steps, cfg, sampler, "normal", positive, negative, latent)[0]["samples"]
        return result, vae.decode(result)


@pytest.fixture(scope="module")
def plain(quickstart):
    return draw(quickstart, quickstart[0])


def score(iqa_model, pictures):
    return score_images([iqa_model], pictures).values.mean().item()


def test_score_goes_up_or_down_as_asked(quickstart, iqa_model, guided):
    scores = [
        score(iqa_model, draw(quickstart, model, 6, 4)[1])
        for model in (guided(0.3, up=False, end_percent=0.9)[0], quickstart[0], guided(0.3, end_percent=0.9)[0])
    ]
    assert scores[0] < scores[1] - 0.01 and scores[1] + 0.01 < scores[2], scores


@pytest.mark.parametrize("up", [True, False])
def test_a_move_that_goes_too_far_is_halved_or_left_out(quickstart, guided, up):
    for options in ({}, {"through_model": True}):
        model, record = guided(50.0, up, **options)
        draw(quickstart, model, 3)
        changes = [step.after["quickstart_iqa"] - step.before["quickstart_iqa"] for step in record.steps]
        assert len(changes) == 6 and all((change if up else -change) >= 0 for change in changes), changes


@pytest.mark.parametrize("options", [{"scale": 0.0}, {"scale": 5.0, "start_percent": 0.55, "end_percent": 0.59}])
def test_without_effect_the_result_is_bit_identical(quickstart, guided, plain, options):
    assert torch.equal(draw(quickstart, guided(**options)[0])[0], plain[0])


@pytest.mark.parametrize(("every", "expected"), [(1, 4), (2, 2), (3, 2)])
def test_every_nth_step_is_guided(quickstart, guided, every, expected):
    model, record = guided(1.0, every=every)
    for _ in range(2):  # a record is of one sampling
        draw(quickstart, model)
        assert len(record.steps) == 2 * expected


def test_the_given_model_stays_unguided(quickstart, guided):
    model = quickstart[0]
    guided(1.0), guided(1.0, through_model=True)
    assert "sampler_post_cfg_function" not in model.model_options
    assert not model.get_nested_additional_models() and not any(model.wrappers.values())


@pytest.mark.parametrize("checkpointing", [False, True])
def test_the_gradient_through_the_model_guides_too_and_checkpointing_changes_nothing(
    quickstart, iqa_model, guided, checkpointing
):
    adapter = load_adapter(WEIGHTS / SCORE.file)
    adapted = apply_adapter(quickstart[0], embed_quality(adapter, torch.zeros(1, 2)))
    options = {"model": adapted, "through_model": True, "start_percent": 0.3}  # begins in inference mode
    up, down = (draw(quickstart, guided(2.0, up, checkpointing=checkpointing, **options)[0]) for up in (True, False))
    assert score(iqa_model, up[1]) > score(iqa_model, down[1]) + 0.02
    assert not torch.equal(up[0], draw(quickstart, guided(2.0, model=adapted)[0])[0])
    if checkpointing:
        assert torch.allclose(up[0], draw(quickstart, guided(2.0, **options)[0])[0], atol=1e-4)


@pytest.mark.parametrize(("dtype", "through_model"), [(torch.float16, False), (torch.bfloat16, True)])
def test_half_precision_and_cfg_1(quickstart, iqa_model, guided, dtype, through_model):
    model = load_quickstart()[0]
    network = model.model.diffusion_model.to(dtype)
    network.dtype = dtype
    options = {"model": model, "through_model": through_model}
    up, down = (draw(quickstart, guided(1.0, up, **options)[0], 2, 1, cfg=1.0)[1] for up in (True, False))
    assert score(iqa_model, up) > score(iqa_model, down) + 0.02


def test_nodes_in_a_row_add_up_whatever_their_order(quickstart, guided, plain):
    masks = torch.zeros(2, 1, 64, 64)
    masks[0, :, :32], masks[1, :, 32:] = 1, 1
    options = {"end_percent": 0.1}  # one step

    def in_a_row(*order):
        model = None
        for number in order:
            model = guided(1.0, mask=masks[number], model=model, **options)[0]
        return draw(quickstart, model)[0]

    first, second = in_a_row(0, 1), in_a_row(1, 0)
    assert torch.allclose(first, second, atol=1e-5) and not torch.allclose(first, in_a_row(0), atol=1e-3)
    twice = guided(0.5, model=guided(0.5, **options)[0], **options)[0]
    assert torch.allclose(draw(quickstart, twice)[0], draw(quickstart, guided(1.0, **options)[0])[0], atol=1e-5)


def test_outside_the_mask_nothing_is_moved(quickstart, guided):
    mask = torch.zeros(1, 64, 64)
    mask[:, :, :32] = 1
    model, _ = guided(1.0, mask=mask)
    (function,) = model.model_options["sampler_post_cfg_function"]
    denoised, base = torch.randn(1, 12, 32, 32), quickstart[0].model
    arguments = {"denoised": denoised, "sigma": torch.tensor([5.0]), "model": base, "model_options": {}}
    moved = function(arguments) - denoised
    assert moved[..., 17:].abs().max() == 0
    assert moved[..., :15].square().mean().sqrt() == pytest.approx(gradient.STEP * 5 / 26**0.5, rel=0.1)


def test_a_target_is_reached_from_both_sides(quickstart, iqa_model, guided, plain):
    now = score(iqa_model, plain[1])
    for target in (now - 0.1, now + 0.02):
        model, record = guided(2.0, target=target)
        draw(quickstart, model)
        last = [step.before["quickstart_iqa"] for step in record.steps[-2:]]
        assert abs(sum(last) / 2 - target) < max(0.05, abs(now - target)), (last, target)


@pytest.mark.parametrize("mode", [HALF, TILES])
def test_smaller_decodings_point_the_same_way(quickstart, iqa_model, monkeypatch, mode):
    monkeypatch.setattr(decoding, "TILE", 20)
    aim, latent = Aim(iqa_model, 1.0, True), torch.randn(1, 12, 32, 32, generator=torch.Generator().manual_seed(0))

    def found(mode):
        way = Decoding(quickstart[2], mode)
        (by_latent,) = way.gradients(latent, torch.nn.Identity(), lambda pixels: [aim.gradient(pixels)[1]])
        return way.pixels(latent, torch.nn.Identity()), by_latent

    pixels, whole = found(WHOLE)
    other_pixels, other = found(mode)
    if mode == TILES:  # this VAE has no neighbourhood, so that tiles fit exactly
        assert torch.allclose(pixels, other_pixels, atol=1e-5) and torch.allclose(whole, other, atol=1e-6)
    else:
        assert other_pixels.shape == (1, 3, 32, 32) and other.shape == whole.shape and other.abs().sum() > 0


def test_four_metrics_and_the_record_in_nodes(quickstart, iqa_model):
    with torch.inference_mode():
        aside = load_iqa_model("entropy")
        model, record = IQAGradientGuidance.execute(
            quickstart[0], quickstart[2], iqa_model, 1.0, "worse", 0.0, 1.0, check_with=aside, weight=2.0
        ).args
    with pytest.raises(ValueError, match="No step was guided: connect the latent"):
        record.plot()
    draw(quickstart, model)
    assert record.change("quickstart_iqa") < 0
    said, alarm = record.verdict()
    assert alarm == (record.change("entropy") > 0) and "entropy, which was set aside" in said
    plot, summary = IQAGuidanceRecord.execute(record, {}).args
    assert plot.std() > 0.01 and summary.count("step ") == 4 and said in summary


def test_metrics_without_gradient_and_empty_ranges_are_refused(quickstart, iqa_model, guided):
    model, _, vae = quickstart
    for name in ("entropy", "noise"):
        with pytest.raises(ValueError, match=f"{name} has no gradient.*learned metric"):
            apply_gradient_guidance(model, vae, load_iqa_model(name), 1.0)
    with pytest.raises(ValueError, match="must lie below"):
        guided(1.0, start_percent=0.5, end_percent=0.5)
    with pytest.raises(ValueError, match="mask is empty"):
        guided(1.0, mask=torch.zeros(1, 8, 8))
    with pytest.raises(ValueError, match="which guides, so that it could not tell"):
        guided(1.0, check=iqa_model)
    node = IQAGradientGuidance.execute
    with pytest.raises(ValueError, match="connected twice"):
        node(model, vae, iqa_model, 1.0, "better", 0.0, 1.0, iqa_model_2=iqa_model)
    with pytest.raises(ValueError, match="All weights are 0"):
        node(model, vae, iqa_model, 1.0, "better", 0.0, 1.0, weight=0.0)
    with pytest.raises(ValueError, match="piqe is not among the metrics here"):
        node(model, vae, iqa_model, 1.0, "better", 0.0, 1.0, targets="piqe=30")
    large = dataclasses.replace(iqa_model, entry=dataclasses.replace(iqa_model.entry, minimum_side=64))
    guided = node(model, vae, large, 1.0, "better", 0.0, 1.0, decode="quarter size").args[0]
    with pytest.raises(ValueError, match="Guidance sees pictures of 16x16, too small for quickstart_iqa"):
        draw(quickstart, guided)
