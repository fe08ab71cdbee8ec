"""Adapters on transformers beside what else takes part in a sampling."""

from __future__ import annotations

import comfy.samplers
import pytest
import torch
import torch.nn.functional as F
from comfy.patcher_extension import WrappersMP
from comfy_api.torch_helpers import set_torch_compile_wrapper
from sampling import Operators, cfg_guider, denoise_once
from transformer_models import (
    CASES,
    OVERRIDE,
    QUALITY,
    SIGMA,
    Reference,
    conditioning,
    latent,
    predict,
    random_adapter,
    transformer,
)

from iqa_adapter.adapter.apply import apply_adapter
from iqa_adapter.adapter.guider import with_quality
from iqa_adapter.adapter.tokens import embed_negated, embed_quality

TOLERANCE = 1e-4


@pytest.fixture(scope="module")
def flux():
    return transformer("Flux")


def referred(model, oracle):
    """A clone of ``model`` whose attention is the test's."""
    model = model.clone()
    model.model_options["transformer_options"][OVERRIDE] = oracle
    return model


def same(actual, expected):
    return (actual - expected).abs().max() <= TOLERANCE * expected.std()


def of_tokens(mask):
    """``[8, 12]`` -> ``[24]``"""
    return F.interpolate(mask[None, None], (4, 6), mode="bilinear", antialias=True).flatten()


@pytest.mark.parametrize("family", ["Flux", "Qwen-Image"])
def test_reference_latents_do_not_attend(family):
    model = transformer(family)
    adapter = random_adapter(model)
    tokens = embed_quality(adapter, QUALITY)
    options = {"reference_latents": [latent(family, seed=8, height=6, width=4)]}
    patched = predict(apply_adapter(model, tokens), family, options=options)
    expected = predict(referred(model, Reference(family, model, adapter, tokens)), family, options=options)
    assert same(patched, expected)


@pytest.mark.parametrize("family", ["Flux", "SD3.5", "Z-Image", "Cosmos-Predict2"])
def test_masks_cover_the_pictures_tokens(family):
    model = transformer(family)
    adapter = random_adapter(model)
    tokens = embed_quality(adapter, QUALITY)
    mask = torch.zeros(8, 12)
    mask[:, 7:] = 1.0
    patched = apply_adapter(model, tokens, mask=mask)
    oracle = Reference(family, model, adapter, tokens, mask=of_tokens(mask))
    assert same(predict(patched, family), predict(referred(model, oracle), family))
    nothing = apply_adapter(model, tokens, mask=torch.zeros(64, 96))
    assert same(predict(nothing, family), predict(model, family))


@pytest.mark.parametrize("family", ["Wan", "Cosmos-Predict2"])
def test_a_mask_covers_every_frame(family):
    model = transformer(family)
    adapter = random_adapter(model)
    tokens = embed_quality(adapter, QUALITY)
    mask = torch.zeros(8, 12)
    mask[:3] = 1.0
    patched = apply_adapter(model, tokens, mask=mask)
    oracle = Reference(family, model, adapter, tokens, mask=of_tokens(mask).repeat(3), frames=3)
    assert same(predict(patched, family, frames=3), predict(referred(model, oracle), family, frames=3))


def test_a_video_model_without_its_picture():
    """Both of its cross-attentions have the whole text then, and the site is one of them."""
    model = transformer("Wan i2v")
    adapter = random_adapter(model)
    tokens = embed_quality(adapter, QUALITY)
    patched = predict(apply_adapter(model, tokens), "Wan i2v", options={"clip_vision_output": None})
    oracle = Reference("Wan i2v", model, adapter, tokens)
    assert same(patched, predict(referred(model, oracle), "Wan i2v", options={"clip_vision_output": None}))


def test_every_picture_has_its_quality(flux):
    adapter = random_adapter(flux)
    tokens = embed_quality(adapter, torch.tensor([[1.5], [-0.4]]))
    oracle = Reference("Flux", flux, adapter, tokens, images=2)
    assert same(predict(apply_adapter(flux, tokens), "Flux", batch=2), predict(referred(flux, oracle), "Flux", batch=2))


def test_negative_quality(flux):
    adapter = random_adapter(flux)
    tokens = embed_negated(adapter, QUALITY, 0.5)
    oracle = Reference("Flux", flux, adapter, tokens)
    assert same(predict(apply_adapter(flux, tokens), "Flux"), predict(referred(flux, oracle), "Flux"))


def test_two_adapters_add_up(flux):
    first, second = random_adapter(flux), random_adapter(flux, seed=4)
    tokens, others = embed_quality(first, QUALITY), embed_quality(second, -QUALITY)
    patched = apply_adapter(apply_adapter(flux, tokens), others, 0.5)
    oracle = Reference("Flux", flux, first, tokens, previous=Reference("Flux", flux, second, others, 0.5))
    assert same(predict(patched, "Flux"), predict(referred(flux, oracle), "Flux"))


def test_a_conditioning_has_its_own_quality_and_area(flux):
    adapter = random_adapter(flux)
    base, own = embed_quality(adapter, QUALITY), embed_quality(adapter, -QUALITY)
    patched = apply_adapter(flux, base)
    positive = with_quality(conditioning("Flux", 1), own)
    guider = cfg_guider(patched, positive, conditioning("Flux", 2))
    actual = denoise_once(guider, latent("Flux"), SIGMA)
    assert same(actual, predict(referred(flux, Reference("Flux", flux, adapter, own)), "Flux"))
    part = [[positive[0][0], positive[0][1] | {"area": (8, 6, 0, 0)}]]
    guider = cfg_guider(patched, [*conditioning("Flux", 3), *part], conditioning("Flux", 2))
    halves = denoise_once(guider, latent("Flux"), SIGMA)
    guider = cfg_guider(patched, conditioning("Flux", 3), conditioning("Flux", 2))
    whole = denoise_once(guider, latent("Flux"), SIGMA)
    assert not same(halves[..., :6], whole[..., :6])
    assert same(halves[..., 6:], whole[..., 6:])


def half_attention(func, *args, **kwargs):
    return 0.5 * func(*args, **kwargs)


class Overwriting:
    """A wrapper that puts its attention where ours was, without looking."""

    def __call__(self, executor, *args, **kwargs):
        args[5][OVERRIDE] = half_attention
        return executor(*args, **kwargs)


@pytest.mark.parametrize("when", ["before", "after"])
def test_overrides_of_other_packs_stay(flux, when):
    adapter = random_adapter(flux)
    tokens = embed_quality(adapter, QUALITY)
    model = flux.clone()
    if when == "before":
        model.model_options["transformer_options"][OVERRIDE] = half_attention
    patched = apply_adapter(model, tokens)
    if when == "after":
        patched.add_wrapper_with_key(WrappersMP.APPLY_MODEL, "other", Overwriting())
    oracle = Reference("Flux", flux, adapter, tokens, previous=half_attention)
    assert same(predict(patched, "Flux"), predict(referred(flux, oracle), "Flux"))


def test_a_kept_output_of_another_pack_does_not_change(flux):
    kept = []

    def keeping(func, *args, **kwargs):
        kept.append(func(*args, **kwargs))
        return kept[-1]

    patched = apply_adapter(flux, embed_quality(random_adapter(flux), QUALITY))
    patched.model_options["transformer_options"][OVERRIDE] = keeping
    predict(patched, "Flux")
    outs = [out.clone() for out in kept]
    plain = flux.clone()
    kept.clear()
    plain.model_options["transformer_options"][OVERRIDE] = keeping
    predict(plain, "Flux")
    assert torch.equal(outs[0], kept[0])  # before the first site the streams are the same


def test_blocks_that_are_left_out(flux, caplog):
    adapter = random_adapter(flux)
    tokens = embed_quality(adapter, QUALITY)

    def skip(model):
        model = model.clone()
        model.set_model_patch_replace(lambda args, _: args, "dit", "double_block", 1)
        model.set_model_patch_replace(lambda args, _: args, "dit", "single_block", 0)
        return model

    patched = predict(skip(apply_adapter(flux, tokens)), "Flux")
    oracle = Reference("Flux", flux, adapter, tokens, sites=(0, 3, 4))
    assert same(patched, predict(referred(skip(flux), oracle), "Flux"))
    assert "did not act at ['double.1', 'single.0']" in caplog.text


def test_skip_layer_guidance(flux):
    """ComfyUI's own node: a second forward of the conditional row without some blocks."""
    from comfy_extras.nodes_slg import SkipLayerGuidanceDiT

    adapter = random_adapter(flux)
    tokens = embed_quality(adapter, QUALITY)

    def guided(model):
        arguments = {"scale": 2.0, "start_percent": 0.0, "end_percent": 1.0}
        return SkipLayerGuidanceDiT.execute(model, double_layers="1", single_layers="0", **arguments).args[0]

    oracle = Reference("Flux", flux, adapter, tokens, sites=(*CASES["Flux"].sites, 0, 3, 4))
    expected = predict(guided(referred(flux, oracle)), "Flux")
    assert same(predict(guided(apply_adapter(flux, tokens)), "Flux"), expected)
    assert same(predict(apply_adapter(guided(flux), tokens), "Flux"), expected)
    assert not same(predict(apply_adapter(flux, tokens), "Flux"), expected)


def test_blocks_that_another_node_runs(flux):
    """Block swapping brings a block to the device, and runs it itself."""
    adapter = random_adapter(flux)
    tokens = embed_quality(adapter, QUALITY)
    swapped, ran = apply_adapter(flux, tokens), []

    def run(args, more):
        ran.append(1)
        return more["original_block"](dict(args))

    for kind, count in (("double_block", 2), ("single_block", 3)):
        for number in range(count):
            swapped.set_model_patch_replace(run, "dit", kind, number)
    assert same(predict(swapped, "Flux"), predict(referred(flux, Reference("Flux", flux, adapter, tokens)), "Flux"))
    assert len(ran) == 5


def test_control(flux):
    """What a ControlNet gives is added to the picture's tokens after each block."""
    adapter = random_adapter(flux)
    tokens = embed_quality(adapter, QUALITY)
    random = torch.Generator().manual_seed(7)
    given = {name: [torch.randn(2, 24, 32, generator=random) for _ in range(2)] for name in ("input", "output")}

    def controlled(model):
        model = model.clone()

        def wrapper(executor, x, t, concat, text, control=None, *args, **kwargs):
            return executor(x, t, concat, text, given, *args, **kwargs)

        model.add_wrapper_with_key(WrappersMP.APPLY_MODEL, "control", wrapper)
        return model

    oracle = Reference("Flux", flux, adapter, tokens)
    expected = predict(controlled(referred(flux, oracle)), "Flux")
    assert same(predict(controlled(apply_adapter(flux, tokens)), "Flux"), expected)
    assert not same(predict(apply_adapter(flux, tokens), "Flux"), expected)


@pytest.mark.parametrize("mask", [None, torch.rand(1, 64, 96)], ids=["whole", "masked"])
def test_a_site_costs_one_attention_and_one_addition(flux, mask):
    """And no forward reads a value from the device or copies anything but the first."""

    def last_forward(model):
        counts, model = [], model.clone()

        def count(executor, *args, **kwargs):
            with Operators() as operators:
                result = executor(*args, **kwargs)
            counts.append(operators.counts)
            return result

        outermost = {"counter": [count], **model.wrappers.get(WrappersMP.APPLY_MODEL, {})}
        model.wrappers[WrappersMP.APPLY_MODEL] = outermost
        guider = cfg_guider(model, conditioning("Flux", 1), [], 1.0)
        sampler, start = comfy.samplers.sampler_object("euler"), latent("Flux")
        guider.sample(start, torch.zeros_like(start), sampler, torch.linspace(1, 0, 4), disable_pbar=True, seed=0)
        return counts[-1]

    tokens = embed_quality(random_adapter(flux), QUALITY)
    added = last_forward(apply_adapter(flux, tokens, 0.8, mask=mask)) - last_forward(flux)
    attention, addition = (
        "aten._scaled_dot_product_flash_attention_for_cpu",
        "aten.add_" if mask is None else "aten.addcmul_",
    )
    assert added == {attention: 5, addition: 5}


@pytest.mark.parametrize("family", list(CASES))
def test_out_of_range_nothing_changes(family):
    model = transformer(family)
    tokens = embed_quality(random_adapter(model), QUALITY)
    plain = predict(model, family)
    assert torch.equal(plain, predict(apply_adapter(model, tokens, 0.0), family))
    assert torch.equal(plain, predict(apply_adapter(model, tokens, start_percent=0.9), family))
    hooks = [module for module in model.model.diffusion_model.modules() if module._forward_pre_hooks]
    assert not hooks


def test_compiled_models():
    """Compiled before the adapter came, with it, and without it again."""
    flux = transformer("Flux", depth=1, depth_single_blocks=1)
    tokens = embed_quality(random_adapter(flux), QUALITY)
    plain, expected = predict(flux, "Flux"), predict(apply_adapter(flux, tokens), "Flux")
    assert not same(plain, expected)
    compiled = flux.clone()
    set_torch_compile_wrapper(compiled, backend="eager")
    assert same(predict(compiled, "Flux"), plain)
    assert same(predict(apply_adapter(compiled, tokens), "Flux"), expected)
    assert same(predict(compiled, "Flux"), plain)


def test_easy_cache(flux):
    from comfy_extras.nodes_easycache import EasyCacheNode

    tokens = embed_quality(random_adapter(flux), QUALITY)

    def sampled(model):
        (model,) = EasyCacheNode.execute(model, 0.2, 0.15, 0.95, False).args
        guider = cfg_guider(model, conditioning("Flux", 1), conditioning("Flux", 2))
        sigmas = torch.linspace(1, 0, 9)
        return guider.sample(latent("Flux"), torch.zeros_like(latent("Flux")), comfy.samplers.sampler_object("euler"),
                             sigmas, disable_pbar=True, seed=0)  # fmt: skip

    assert not same(sampled(apply_adapter(flux, tokens)), sampled(flux))


def test_refused_pictures_beside_the_latent():
    model = transformer("HiDream")
    patched = apply_adapter(model, embed_quality(random_adapter(model), QUALITY))
    with pytest.raises(ValueError, match="does not work with a picture to edit .HiDream-E1. in HiDream"):
        predict(patched, "HiDream", options={"concat_latent_image": latent("HiDream")})


def test_families_are_told_apart():
    flux, chroma = transformer("Flux"), transformer("Chroma")
    tokens = embed_quality(random_adapter(flux), QUALITY)
    with pytest.raises(ValueError, match=r"made for Flux \(5 .*, but the connected model is Chroma \(5"):
        apply_adapter(chroma, tokens)
    with pytest.raises(ValueError, match=r"made for Flux \(5 .*, but the connected model is Z-Image \(3"):
        apply_adapter(transformer("Z-Image"), tokens)
