"""Further kinds of composition: hooks, modules and batch functions of other packs, and their names and masks."""

import dataclasses

import comfy.hooks
import comfy.model_management
import models
import packs
import pytest
import torch
from comfy.ldm.modules.attention import optimized_attention
from comfy.patcher_extension import WrappersMP
from sampling import cfg_guider, denoise_once

from iqa_adapter.adapter import apply, call
from iqa_adapter.adapter.application import APPLICATIONS
from iqa_adapter.adapter.tokens import embed_negated

TOLERANCE = 1e-4  # of the output's standard deviation


@pytest.fixture(scope="module")
def model():
    return models.comfy_model("SD1.5")


@pytest.fixture(scope="module")
def tokens(model):
    return embed_negated(models.random_adapter(model), torch.tensor([[1.0, -0.5]]), 0.5)


def predict(model, positive=None, cfg=2.0):
    guider = cfg_guider(model, positive or models.conditioning(1), models.conditioning(2), cfg)
    return denoise_once(guider, models.latent(1))


def difference(actual, expected):
    return ((actual - expected).abs().max() / expected.std()).item()


@pytest.mark.parametrize("key", [("input", 4, 0), ("input", 4)])
@pytest.mark.parametrize("scope", list(comfy.hooks.EnumHookScope))
def test_a_layer_that_a_hook_replaces(model, tokens, key, scope):
    """A conditioning brings a patch of its own, which is not in the model's options."""

    def louder(q, k, v, extra_options):
        return 1.5 * optimized_attention(q, k, v, extra_options["n_heads"])

    hook = comfy.hooks.TransformerOptionsHook({"patches_replace": {"attn2": {key: louder}}}, scope)
    hooks = comfy.hooks.HookGroup()
    hooks.add(hook)
    (conditioned,) = models.conditioning(1)
    positive = [[conditioned[0], {**conditioned[1], "hooks": hooks}]]
    patched = apply.apply_adapter(model, tokens)
    everywhere = packs.overwriting_attention(patched, [key])
    actual, cfg = predict(patched, positive=positive, cfg=1.0), predict(patched, positive=positive)
    assert difference(actual, predict(everywhere, cfg=1.0)) <= TOLERANCE
    assert difference(cfg, predict(patched)) > 0.01


def test_an_attention_module_that_another_node_put_in(model, tokens):
    """Layer diffusion's attention sharing: a module without projections, which no patch can replace."""

    class Sharing(torch.nn.Module):
        def forward(self, x, context=None, value=None, **_):
            return x

    patched = apply.apply_adapter(model, tokens)
    other = model.clone()
    for candidate in (patched, other):
        candidate.add_object_patch("diffusion_model.input_blocks.4.1.transformer_blocks.0.attn2", Sharing())
    with pytest.raises(ValueError, match=r"input\.4\.0 is a Sharing"):
        predict(patched)
    predict(other)
    with pytest.raises(ValueError, match="unload the models once"):
        apply.apply_adapter(model, tokens)
    comfy.model_management.unload_all_models()


def test_a_transformer_block_that_says_no_precision(model, tokens):
    """Advanced-ControlNet's reference control: a forward of its own, whose options lack ``attn_precision``."""

    def without(q, k, v, extra_options):
        del extra_options["attn_precision"]
        return q, k, v

    patched = apply.apply_adapter(model, tokens)
    expected = predict(patched)
    patched.set_model_attn2_patch(without)
    assert difference(predict(patched), expected) == 0


def test_a_mask_where_a_layer_has_fewer_positions_is_refused(model, tokens):
    """Token merging in cross-attention."""
    candidate = apply.apply_adapter(model, tokens, mask=torch.rand(1, 16, 16))
    candidate.set_model_attn2_patch(lambda q, k, v, extra: (q[:, ::2], k, v))
    candidate.set_model_attn2_output_patch(lambda out, extra: out.repeat_interleave(2, 1))
    with pytest.raises(ValueError, match="mask cannot be placed"):
        predict(candidate)
    assert predict(_without_mask(candidate)).isfinite().all()


def _without_mask(candidate):
    options = candidate.model_options["transformer_options"]
    options[APPLICATIONS] = tuple(dataclasses.replace(each, mask=None) for each in options[APPLICATIONS])
    return candidate


@pytest.mark.parametrize("name", ["negative", "neg", "null", "unconditional", "empty_negative_prompt"])
def test_guiders_of_other_packs_name_their_conditionings(name):
    run = call.Run({"a": "positive", "b": name})
    assert run.is_positive(1, [{"uuid": "a"}]) and not run.is_positive(0, [{"uuid": "b"}])


def test_a_batch_function_of_its_own_still_knows_the_names(model, tokens):
    """A pack that calls the model itself, the negative alone and first."""

    def swapped(executor, base, conds, x, timestep, model_options):
        options = {key: value for key, value in model_options["transformer_options"].items() if key != call.CALL}
        outs = []
        for cond in conds:
            text = cond[0]["model_conds"]["c_crossattn"].cond.repeat(len(x), 1, 1)
            named = {**options, "patches_replace": {}, "cond_or_uncond": [0], "uuids": [cond[0]["uuid"]]}
            outs.append(base.apply_model(x, timestep, c_crossattn=text, transformer_options=named))
        return outs

    patched = apply.apply_adapter(model, tokens)
    expected = predict(patched)
    patched.add_wrapper_with_key(WrappersMP.CALC_COND_BATCH, "other", swapped)
    assert difference(predict(patched), expected) <= TOLERANCE
