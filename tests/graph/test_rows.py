"""Every row of every batch sees the tokens it should: guiders, batches, regions, time ranges, context windows."""

import comfy.context_windows
import models
import oracle
import pytest
import torch
from comfy_extras.nodes_custom_sampler import Guider_DualCFG
from comfy_extras.nodes_perpneg import Guider_PerpNeg
from nodes import ConditioningSetArea, ConditioningSetMask, ConditioningSetTimestepRange
from sampling import cfg_guider, denoise_once, observe

from iqa_adapter.adapter import apply, tokens
from iqa_adapter.adapter import guider as sampling

POSITIVE, NEGATIVE, OTHER = 11, 12, 13  # seeds of text embeddings; a row is recognised by its text


@pytest.fixture(scope="module")
def pair():
    """A model, its diffusers twin with the adapter installed, and the adapter."""
    unet = models.diffusers_unet("SD1.5")
    model = models.comfy_model("SD1.5", unet)
    adapter = models.random_adapter(model)
    oracle.install_processors(unet, adapter)
    return model, unet, adapter


def tokens_for(adapter, *rows):
    """Tokens whose unconditional rows differ from each other, so that a mix-up shows."""
    return tokens.embed_negated(adapter, torch.tensor(rows), 0.5)


def text_of(call, row):
    """Seed of the text embedding that a row carries."""
    text = call["context"][row]
    for seed in (POSITIVE, NEGATIVE, OTHER):
        if any(torch.equal(text[:tokens], models.conditioning(seed, tokens)[0][0][0]) for tokens in (7, 9)):
            return seed
    raise AssertionError("a row with an unknown text")


def assert_rows(pair, record, expected):
    """Compare with diffusers; ``expected`` maps the text of a row (and its image) to tokens."""
    difference = oracle.largest_difference(pair[1], record, expected)
    assert record.outputs and difference <= oracle.TOLERANCE


def conds(*seeds):
    return [models.conditioning(seed) for seed in seeds]


@pytest.mark.parametrize("batch", [1, 3])
def test_cond_and_uncond_in_one_batch(pair, batch):
    model, _, adapter = pair
    tokens = tokens_for(adapter, (1.0, -0.5))
    patched, record = observe(apply.apply_adapter(model, tokens))
    denoise_once(cfg_guider(patched, *conds(POSITIVE, NEGATIVE)), models.latent(batch))
    assert [len(output) for output in record.outputs] == [2 * batch]
    sides = {POSITIVE: tokens.cond[0], NEGATIVE: tokens.uncond[0]}
    assert_rows(pair, record, lambda call, row: sides[text_of(call, row)])


def test_cond_and_uncond_in_separate_calls(pair):
    model, _, adapter = pair
    tokens = tokens_for(adapter, (1.0, -0.5))
    patched, record = observe(apply.apply_adapter(model, tokens))
    negative = models.conditioning(NEGATIVE, tokens=9)  # ComfyUI does not batch texts of 7 and 9 tokens
    denoise_once(cfg_guider(patched, models.conditioning(POSITIVE), negative), models.latent(2))
    assert [len(output) for output in record.outputs] == [2, 2]
    sides = {POSITIVE: tokens.cond[0], NEGATIVE: tokens.uncond[0]}
    assert_rows(pair, record, lambda call, row: sides[text_of(call, row)])


def test_one_embed_per_image(pair):
    model, _, adapter = pair
    tokens = tokens_for(adapter, (2.0, 0.0), (0.0, 0.0), (-2.0, 1.0))
    patched, record = observe(apply.apply_adapter(model, tokens))
    denoise_once(cfg_guider(patched, *conds(POSITIVE, NEGATIVE)), models.latent(3))
    sides = {POSITIVE: tokens.cond, NEGATIVE: tokens.uncond}
    assert_rows(pair, record, lambda call, row: sides[text_of(call, row)][row % 3])


def test_cfg_one_runs_the_positive_alone(pair):
    model, _, adapter = pair
    tokens = tokens_for(adapter, (1.0, -0.5))
    patched, record = observe(apply.apply_adapter(model, tokens))
    denoise_once(cfg_guider(patched, *conds(POSITIVE, NEGATIVE), cfg=1.0), models.latent(2))
    assert [text_of(call, 0) for call in record.inputs] == [POSITIVE]
    assert_rows(pair, record, lambda call, row: tokens.cond[0])


@pytest.mark.parametrize("nested", [False, True])
def test_dual_cfg_guider_puts_the_negative_first(pair, nested):
    model, _, adapter = pair
    tokens = tokens_for(adapter, (1.0, -0.5))
    patched, record = observe(apply.apply_adapter(model, tokens))
    guider = Guider_DualCFG(patched)
    guider.set_conds(*conds(POSITIVE, OTHER, NEGATIVE))
    guider.set_cfg(5.0, 3.0, nested)
    denoise_once(guider, models.latent(2))
    sides = {POSITIVE: tokens.cond[0], OTHER: tokens.cond[0], NEGATIVE: tokens.uncond[0]}
    assert_rows(pair, record, lambda call, row: sides[text_of(call, row)])


def test_perp_neg_guider_has_three(pair):
    model, _, adapter = pair
    tokens = tokens_for(adapter, (1.0, -0.5))
    patched, record = observe(apply.apply_adapter(model, tokens))
    guider = Guider_PerpNeg(patched)
    guider.set_conds(*conds(POSITIVE, NEGATIVE, OTHER))
    guider.set_cfg(5.0, 1.0)
    denoise_once(guider, models.latent(2))
    sides = {POSITIVE: tokens.cond[0], OTHER: tokens.uncond[0], NEGATIVE: tokens.uncond[0]}
    assert_rows(pair, record, lambda call, row: sides[text_of(call, row)])


def test_areas_masks_and_their_own_quality(pair):
    """Two regions, one with a quality of its own; ComfyUI copies the area into the negative list."""
    model, _, adapter = pair
    tokens, own = tokens_for(adapter, (1.0, -0.5)), tokens_for(adapter, (-2.0, 2.0))
    patched, record = observe(apply.apply_adapter(model, tokens))
    (left,) = ConditioningSetArea().append(models.conditioning(POSITIVE), 64, 128, 0, 0, 1.0)
    right = ConditioningSetMask().append(models.conditioning(OTHER), torch.ones(128, 128), "default", 1.0)[0]
    positive = sampling.with_quality(left, own) + right
    denoise_once(cfg_guider(patched, positive, models.conditioning(NEGATIVE)), models.latent(2))

    def expected(call, row):
        in_area = call["x"].shape[-1] == 8
        source = own if in_area else tokens
        return source.uncond[0] if text_of(call, row) == NEGATIVE else source.cond[0]

    assert {call["x"].shape[-1] for call in record.inputs} == {8, 16}
    assert_rows(pair, record, expected)


def test_time_ranges_with_their_own_quality(pair):
    model, _, adapter = pair
    tokens, late = tokens_for(adapter, (1.0, -0.5)), tokens_for(adapter, (-2.0, 2.0))
    (first,) = ConditioningSetTimestepRange().set_range(models.conditioning(POSITIVE), 0.0, 0.5)
    (second,) = ConditioningSetTimestepRange().set_range(models.conditioning(POSITIVE), 0.5, 1.0)
    positive = first + sampling.with_quality(second, late)
    for sigma, source in ((10.0, tokens), (0.2, late)):
        patched, record = observe(apply.apply_adapter(model, tokens))
        guider = cfg_guider(patched, positive, models.conditioning(NEGATIVE))
        denoise_once(guider, models.latent(1), sigma)
        sides = {POSITIVE: source.cond[0], NEGATIVE: tokens.uncond[0]}
        assert_rows(pair, record, lambda call, row, sides=sides: sides[text_of(call, row)])


def test_context_windows_take_the_embeds_of_their_images(pair):
    model, _, adapter = pair
    tokens = tokens_for(adapter, *[(float(image), -0.5) for image in range(6)])
    patched, record = observe(apply.apply_adapter(model, tokens))
    context = comfy.context_windows
    patched.model_options["context_handler"] = _BatchWindows(
        context_schedule=context.get_matching_context_schedule(context.ContextSchedules.STATIC_STANDARD),
        fuse_method=context.get_matching_fuse_method(context.ContextFuseMethods.PYRAMID),
        context_length=4,
        context_overlap=2,
    )
    noise = models.latent(6)
    denoise_once(cfg_guider(patched, *conds(POSITIVE, NEGATIVE)), noise)
    assert len(record.outputs) == 2

    def image_of(call, row):  # the one whose noise the row carries
        return int(torch.cosine_similarity(call["x"][row].flatten()[None], noise.flatten(1)).argmax())

    last = [image_of(record.inputs[1], row) for row in range(len(record.inputs[1]["x"]) // 2)]
    assert last[-4:] == [2, 3, 4, 5]
    sides = {POSITIVE: tokens.cond, NEGATIVE: tokens.uncond}
    assert_rows(pair, record, lambda call, row: sides[text_of(call, row)][image_of(call, row)])


class _BatchWindows(comfy.context_windows.IndexListContextHandler):
    """Windows over a batch of images: ComfyUI compares the schedule with one noise level, a batch has one per image."""

    def set_step(self, timestep, model_options):
        super().set_step(timestep[:1], model_options)


def test_embeds_of_another_adapter_do_not_override(pair):
    model, _, adapter = pair
    foreign = models.random_adapter(model, seed=99)
    tokens, other = tokens_for(adapter, (1.0, -0.5)), tokens_for(foreign, (1.0, -0.5))
    patched, record = observe(apply.apply_adapter(model, tokens))
    positive = sampling.with_quality(models.conditioning(POSITIVE), other)
    denoise_once(cfg_guider(patched, positive, models.conditioning(NEGATIVE)), models.latent(1))
    sides = {POSITIVE: tokens.cond[0], NEGATIVE: tokens.uncond[0]}
    assert_rows(pair, record, lambda call, row: sides[text_of(call, row)])
