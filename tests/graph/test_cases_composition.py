"""Cases that users of other packs reported: the adapter is never silently without effect, in any order of nodes."""

import dataclasses
import logging

import comfy.samplers
import models
import packs
import pytest
import torch
from comfy_extras.nodes_model_advanced import ModelSamplingContinuousEDM
from nodes import ConditioningSetArea
from sampling import cfg_guider, denoise_once

from iqa_adapter.adapter import apply, checkpoint, guider
from iqa_adapter.adapter.tokens import embed_negated
from iqa_adapter.guidance import gradient
from iqa_adapter.iqa_models.loading import load_iqa_model
from iqa_adapter.quickstart.model import load_quickstart

TOLERANCE = 1e-4  # of the output's standard deviation


@pytest.fixture(scope="module")
def model():
    return models.comfy_model("SD1.5")


@pytest.fixture(scope="module")
def adapter(model):
    return models.random_adapter(model)


def tokens_for(adapter, *rows):
    return embed_negated(adapter, torch.tensor(rows), 0.5)


@pytest.fixture(scope="module")
def tokens(adapter):
    return tokens_for(adapter, (1.0, -0.5))


def predict(model, batch=1, positive=None, cfg=2.0, sigma=3.0, side=16):
    guider_ = cfg_guider(model, positive or models.conditioning(1), models.conditioning(2), cfg)
    return denoise_once(guider_, models.latent(batch, side, side), sigma)


def difference(actual, expected):
    return ((actual - expected).abs().max() / expected.std()).item()


def orders(model, tokens, other, **options):
    """The other pack's node before and after Apply."""
    return (
        apply.apply_adapter(other(model), tokens, **options),
        other(apply.apply_adapter(model, tokens, **options)),
    )


@pytest.mark.parametrize("family", ["SD1.5", "SDXL"])
def test_ip_adapter_before_and_after(family):
    model = models.comfy_model(family)
    tokens = tokens_for(models.random_adapter(model), (1.0, -0.5))

    def other(candidate):
        return packs.ip_adapter(candidate, sdxl=family == "SDXL")

    first, second = (predict(candidate) for candidate in orders(model, tokens, other))
    ours, theirs = predict(apply.apply_adapter(model, tokens)), predict(other(model))
    assert difference(first, second) <= TOLERANCE
    assert difference(first, ours) > 0.01 and difference(first, theirs) > 0.01


def test_packs_that_overwrite_a_layer_or_a_block(model, tokens):
    for keys in ([("input", 4, 0), ("output", 5, 0)], [("input", 4), ("output", 5)]):

        def other(candidate, keys=keys):
            return packs.overwriting_attention(candidate, keys)

        first, second = (predict(candidate) for candidate in orders(model, tokens, other))
        assert difference(first, second) <= TOLERANCE
        assert difference(first, predict(other(model))) > 0.01
        assert difference(first, predict(apply.apply_adapter(model, tokens))) > 0.001


@pytest.mark.parametrize("length, overlap", [(4, 2), (3, 1)])
def test_every_window_takes_the_embeds_of_its_images(model, adapter, length, overlap):
    several = tokens_for(adapter, *[(float(image), -0.5) for image in range(6)])
    mask = torch.rand(6, 16, 16, generator=torch.Generator().manual_seed(1))
    for options in ({}, {"mask": mask}):
        whole = predict(apply.apply_adapter(model, several, **options), batch=6)
        for candidate in orders(model, several, lambda each: packs.windows(each, length, overlap), **options):
            assert difference(predict(candidate, batch=6), whole) <= TOLERANCE


@pytest.mark.parametrize("at_once", [4, 3, 1])
@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("roll", [0, 3])
def test_tiles_equal_tiles_sampled_alone(model, adapter, at_once, batch, roll):
    several = tokens_for(adapter, *[(float(image), -0.5) for image in range(batch)])
    mask = torch.rand(1, 16, 16, generator=torch.Generator().manual_seed(1))
    for candidate in orders(model, several, lambda each: packs.tiles(each, 8, at_once, roll), mask=mask):
        tiled = predict(candidate, batch=batch).roll((roll, roll), (-2, -1))
        noise = models.latent(batch).roll((roll, roll), (-2, -1))
        for top, left in ((0, 0), (0, 8), (8, 0), (8, 8)):
            own_part = mask.roll((roll, roll), (-2, -1))[:, top : top + 8, left : left + 8]
            alone = apply.apply_adapter(model, several, mask=own_part)
            guided = cfg_guider(alone, models.conditioning(1), models.conditioning(2), 2.0)
            expected = denoise_once(guided, noise[..., top : top + 8, left : left + 8])
            assert difference(tiled[..., top : top + 8, left : left + 8], expected) <= TOLERANCE


def test_tiles_inside_an_area(model, tokens):
    mask = torch.zeros(1, 16, 16)
    mask[:, :8] = 1
    (left,) = ConditioningSetArea().append(models.conditioning(1), 64, 128, 0, 0, 1.0)
    plain, tiled = (
        predict(packs.tiles(apply.apply_adapter(model, tokens, mask=mask), 8, count), positive=left) for count in (1, 4)
    )
    assert difference(tiled, plain) <= TOLERANCE


def test_a_guidance_that_samples_tiles_by_itself_places_the_mask(model, tokens):
    """As sliding window guidance does: after every step, parts of the picture go through the model once more."""
    mask = torch.zeros(1, 16, 16)
    mask[:, :8, :8] = 1

    def corner(args):
        part = args["input"][..., 8:, 8:]
        (again,) = comfy.samplers.calc_cond_batch(
            args["model"], [args["cond"]], part, args["sigma"], args["model_options"]
        )
        seen.append(again)
        return args["denoised"]

    results = []
    for candidate in (model, apply.apply_adapter(model, tokens, mask=mask)):
        seen: list = []
        candidate = candidate.clone()
        candidate.set_model_sampler_post_cfg_function(corner)
        predict(candidate)
        results.append(seen[0])
    assert torch.equal(*results), "there the mask is 0"


@pytest.mark.parametrize("hint", ["", "cond_or_uncond_couple", "cond_or_uncond"])
@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("regions", [2, 3])
def test_attention_couples_keep_every_row(model, adapter, hint, batch, regions):
    several = tokens_for(adapter, *[(float(image), -0.5) for image in range(batch)])
    mask = torch.rand(1, 16, 16, generator=torch.Generator().manual_seed(1))
    first, second = (
        predict(candidate, batch)
        for candidate in orders(model, several, lambda each: packs.couple(each, regions, hint), mask=mask)
    )
    assert difference(first, second) <= TOLERANCE
    for image in range(batch):  # a picture sampled alone has its own quality in every region
        one = tokens_for(adapter, (float(image), -0.5))
        alone = packs.couple(apply.apply_adapter(model, one, mask=mask), regions, hint)
        guided = cfg_guider(alone, models.conditioning(1), models.conditioning(2), 2.0)
        expected = denoise_once(guided, models.latent(batch)[image : image + 1])
        assert difference(first[image : image + 1], expected) <= TOLERANCE


def test_rows_that_cannot_be_explained_are_named(model, tokens):
    candidate = apply.apply_adapter(model, tokens)
    candidate.set_model_attn2_patch(
        lambda q, k, v, extra: (torch.cat([q, q[:1]]), torch.cat([k, k[:1]]), torch.cat([v, v[:1]]))
    )
    candidate.set_model_attn2_output_patch(lambda out, extra: out[:-1])
    with pytest.raises(ValueError, match="cannot tell whose the 5 rows .*attention couple"):
        predict(candidate, batch=2)


def test_a_pack_that_walks_the_blocks_itself(model, tokens):
    mask = torch.rand(1, 16, 16, generator=torch.Generator().manual_seed(1))
    for options in ({}, {"mask": mask}, {"start_percent": 0.1, "end_percent": 0.9}):
        expected = predict(apply.apply_adapter(model, tokens, **options), batch=2)
        for candidate in orders(model, tokens, packs.own_walk, **options):
            assert difference(predict(candidate, batch=2), expected) <= TOLERANCE


def test_a_run_in_which_no_site_attended_fails(model, tokens):
    candidate = packs.own_walk(apply.apply_adapter(model, tokens), leave_out=True)
    with pytest.raises(RuntimeError, match=r"random.safetensors had no effect: none of its 16 attention layers ran"):
        predict(candidate)


def test_a_part_of_the_sampling_that_a_node_skips_is_reported_and_the_picture_kept(model, tokens, caplog):
    """As EasyCache may: it leaves out whole steps."""
    candidate = packs.own_walk(apply.apply_adapter(model, tokens, start_percent=0.1), leave_out=True)
    with caplog.at_level(logging.WARNING):
        assert predict(candidate).isfinite().all()
    assert "random.safetensors did not act at" in caplog.text


def test_two_qualities_on_one_conditioning(model):
    one, two = models.random_adapter(model), models.random_adapter(model, seed=8)
    patched = apply.apply_adapter(apply.apply_adapter(model, tokens_for(one, (0.0, 0.0))), tokens_for(two, (0.0, 0.0)))
    positive = models.conditioning(1)
    for each in (tokens_for(one, (2.0, 0.0)), tokens_for(two, (0.0, -2.0))):
        positive = guider.with_quality(positive, each)
    expected = apply.apply_adapter(
        model, dataclasses.replace(tokens_for(one, (0.0, 0.0)), cond=tokens_for(one, (2.0, 0.0)).cond)
    )
    expected = apply.apply_adapter(
        expected, dataclasses.replace(tokens_for(two, (0.0, 0.0)), cond=tokens_for(two, (0.0, -2.0)).cond)
    )
    own = predict(patched, positive=positive, cfg=1.0)
    assert difference(own, predict(expected, cfg=1.0)) <= TOLERANCE


def test_copies_and_reloads_of_an_adapter_are_the_same_adapter(model, adapter, tmp_path):
    patched = apply.apply_adapter(model, tokens_for(adapter, (0.0, 0.0)))
    asked = tokens_for(adapter, (2.0, 0.0))
    expected = predict(patched, positive=guider.with_quality(models.conditioning(1), asked))
    assert difference(expected, predict(patched)) > 0.01
    copied = packs.copied(guider.with_quality(models.conditioning(1), asked))
    assert torch.equal(predict(patched, positive=copied), expected)
    checkpoint.save_adapter(adapter, tmp_path / "again.safetensors")
    reloaded = checkpoint.load_adapter(tmp_path / "again.safetensors")
    again = guider.with_quality(models.conditioning(1), tokens_for(reloaded, (2.0, 0.0)))
    assert torch.equal(predict(patched, positive=again), expected)


def test_an_override_that_no_apply_node_reads_is_reported(model, adapter, caplog):
    foreign = models.random_adapter(model, seed=99)
    patched = apply.apply_adapter(model, tokens_for(adapter, (0.0, 0.0)))
    positive = guider.with_quality(models.conditioning(1), tokens_for(foreign, (2.0, 0.0)))
    with caplog.at_level(logging.WARNING):
        predict(patched, positive=positive)
    assert [record.message for record in caplog.records if "has no effect" in record.message] == [
        "Set Quality of Conditioning with random.safetensors has no effect: the model has no Apply node for it."
    ]


def test_ranges_follow_the_schedule_that_samples(model, tokens):
    """A node behind Apply changes the schedule; 50 to 80 % are then 50 to 80 % of that one."""

    def edm(candidate):
        return ModelSamplingContinuousEDM().patch(candidate, "edm_playground_v2.5", 120.0, 0.002)[0]

    schedule = edm(model).get_model_object("model_sampling").percent_to_sigma
    plain = edm(model)
    for candidate in orders(model, tokens, edm, start_percent=0.5, end_percent=0.8):
        acts = [
            percent
            for percent in (5, 25, 45, 55, 65, 75, 85, 95)
            if not torch.equal(
                predict(candidate, sigma=schedule(percent / 100)), predict(plain, sigma=schedule(percent / 100))
            )
        ]
        assert acts == [55, 65, 75]


def test_more_embeds_than_pictures_are_refused(model, adapter):
    several = tokens_for(adapter, (1.0, 0.0), (2.0, 0.0))
    with pytest.raises(ValueError, match="2 qualities are asked for .* 1 picture is sampled .* Quality Sweep"):
        predict(apply.apply_adapter(model, several))
    patched = apply.apply_adapter(model, tokens_for(adapter, (1.0, 0.0)))
    with pytest.raises(ValueError, match="2 qualities are asked for"):
        predict(patched, positive=guider.with_quality(models.conditioning(1), several))
    assert predict(apply.apply_adapter(model, several), batch=4).isfinite().all()


@pytest.mark.parametrize("multipliers", ["", " , ", "\n"])
def test_custom_weighting_without_multipliers_is_refused(model, tokens, multipliers):
    with pytest.raises(ValueError, match="needs layer_multipliers"):
        apply.apply_adapter(model, tokens, weighting="custom", multipliers=multipliers)


@pytest.mark.parametrize("factor", ["101", "-1e3", "9" * 400, "1" * 100_000 + "x"])
def test_factors_out_of_range_or_that_are_none_are_refused(model, tokens, factor):
    with pytest.raises(ValueError, match="out of range|names no layer") as error:
        apply.apply_adapter(model, tokens, weighting="custom", multipliers=f"middle={factor}")
    assert len(str(error.value)) < 1000


def test_a_kind_of_layers_that_the_model_lacks_is_refused():
    model = models.comfy_model("SSD-1B")
    with pytest.raises(ValueError, match="has no middle layers that could act"):
        apply.apply_adapter(model, tokens_for(models.random_adapter(model), (1.0, 0.0)), weighting="middle")


def test_two_gradient_guidances_bring_both_their_models():
    model, _, vae = load_quickstart()
    first, second = load_iqa_model("quickstart_iqa"), load_iqa_model("quickstart_iqa")
    guided = gradient.apply_gradient_guidance(model, vae, first, 0.3)
    guided = gradient.apply_gradient_guidance(guided, vae, second, 0.3)
    brought = {id(patcher.model) for patcher in guided.get_nested_additional_models()}
    assert {id(first.patcher.model), id(second.patcher.model)} <= brought


def test_a_kernel_of_another_pack_computes_the_quality_attention_too(model, tokens):
    lengths = set()

    def override(kernel, q, k, v, *args, **kwargs):
        lengths.add(k.shape[1])
        return kernel(q, k, v, *args, **kwargs)

    patched = apply.apply_adapter(model, tokens)
    expected = predict(patched)
    patched.model_options["transformer_options"]["optimized_attention_override"] = override
    assert difference(predict(patched), expected) <= TOLERANCE
    assert tokens.cond.shape[1] in lengths


@pytest.mark.parametrize("batch", [1, 2])
def test_a_forward_outside_of_any_guider(model, adapter, batch):
    """Packs that call the model themselves: conditionings are told by their place, unconditional rows first."""
    several = tokens_for(adapter, *[(float(image), -0.5) for image in range(batch)])
    patched = apply.apply_adapter(model, several)
    x, text = models.latent(batch), [models.conditioning(seed)[0][0].expand(batch, -1, -1) for seed in (2, 1)]
    options = patched.model_options["transformer_options"] | {"wrappers": patched.wrappers, "cond_or_uncond": [1, 0]}
    sigma = torch.full((2 * batch,), 3.0)
    with torch.no_grad():
        rows = model.model.apply_model(
            torch.cat([x, x]), sigma, c_crossattn=torch.cat(text), transformer_options=options
        )
    uncond, cond = rows.chunk(2)
    guided = cfg_guider(patched, models.conditioning(1), models.conditioning(2), 2.0)
    sampled = denoise_once(guided, x / 3.0)  # the sampler scales noise by the noise level
    assert difference(model.model.process_latent_out(uncond + 2.0 * (cond - uncond)), sampled) <= TOLERANCE
