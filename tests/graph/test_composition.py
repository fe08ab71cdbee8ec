"""Adapters beside LoRA, ControlNet, other patches, other branches of the graph, other dtypes, and themselves."""

import copy
import gc
import weakref

import comfy.cldm.cldm
import comfy.controlnet
import comfy.model_management
import comfy.ops
import comfy.sd
import models
import oracle
import pytest
import torch
from comfy_api.torch_helpers import set_torch_compile_wrapper
from comfy_extras.nodes_freelunch import FreeU_V2
from comfy_extras.nodes_hypertile import HyperTile
from comfy_extras.nodes_pag import PerturbedAttentionGuidance
from nodes import ControlNetApplyAdvanced
from sampling import cfg_guider, denoise_once, observe

from iqa_adapter.adapter import apply, attention
from iqa_adapter.adapter.call import RUN

TARGET = (1.0, -0.5)


@pytest.fixture(scope="module")
def unet():
    return models.diffusers_unet("SD1.5")


@pytest.fixture()
def model(unet):
    return models.comfy_model("SD1.5", unet)


@pytest.fixture()
def tokens(model):
    return models.quality_tokens(models.random_adapter(model), TARGET)


def predict(model, sigma=3.0, batch=1, cfg=2.0, positive=None):
    guider = cfg_guider(model, positive or models.conditioning(1), models.conditioning(2), cfg)
    return denoise_once(guider, models.latent(batch), sigma)


def assert_same(actual, expected, tolerance=1e-4):
    """Equal up to the order of float32 sums, in standard deviations."""
    assert (actual - expected).abs().max() <= tolerance * expected.std()


def sides(tokens):
    return lambda call, row: (tokens.cond[0], tokens.uncond[0])[call["options"]["cond_or_uncond"][row]]


def difference_to_diffusers(unet, patched, tokens, **kwargs):
    patched, record = observe(patched)
    predict(patched, **kwargs)
    twin = copy.deepcopy(unet)
    oracle.install_processors(twin, tokens.adapter)
    return oracle.largest_difference(twin, record, sides(tokens))


def test_strength_zero_is_bit_identical(model, tokens):
    assert torch.equal(predict(model), predict(apply.apply_adapter(model, tokens, strength=0.0)))


@pytest.mark.parametrize(("start", "end"), [(0.0, 0.3), (0.9, 1.0)])
def test_outside_the_range_is_bit_identical(model, tokens, start, end):
    patched = apply.apply_adapter(model, tokens, start_percent=start, end_percent=end)
    assert torch.equal(predict(model), predict(patched))
    inside = model.model.model_sampling.percent_to_sigma((start + end) / 2)
    assert not torch.equal(predict(model, inside), predict(patched, inside))


def test_the_other_branch_and_the_weights_stay_as_they_are(model, tokens):
    before = predict(model)
    weights = copy.deepcopy(model.model.diffusion_model.state_dict())
    patched = apply.apply_adapter(model, tokens)
    assert not torch.equal(predict(patched), before)
    assert torch.equal(predict(model), before)
    assert all(torch.equal(weights[key], value) for key, value in model.model.diffusion_model.state_dict().items())


def test_strength_is_linear_in_each_layer_and_may_be_negative(unet, model, tokens):
    """Scale is diffusers' scale."""
    for strength in (-1.0, 0.5, 2.0):
        patched, record = observe(apply.apply_adapter(model, tokens, strength))
        predict(patched)
        twin = copy.deepcopy(unet)
        oracle.install_processors(twin, tokens.adapter, strength)
        for processor in twin.attn_processors.values():
            if hasattr(processor, "scale"):
                processor.scale = [strength]
        assert oracle.largest_difference(twin, record, sides(tokens)) <= oracle.TOLERANCE


def test_two_adapters_add_up(model, tokens):
    """Applying tokens twice with half the strength is applying them once; another adapter changes the result."""
    once = predict(apply.apply_adapter(model, tokens, 1.0))
    halves = predict(apply.apply_adapter(apply.apply_adapter(model, tokens, 0.5), tokens, 0.5))
    assert_same(halves, once)
    other = models.quality_tokens(models.random_adapter(model, tokens=4, seed=8), TARGET)
    first, second = apply.apply_adapter(model, tokens), apply.apply_adapter(model, other)
    both = predict(apply.apply_adapter(first, other))
    assert_same(both, predict(apply.apply_adapter(second, tokens)))
    assert not torch.equal(both, once)


def test_lora(unet, model, tokens):
    name = "down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_v"
    weight = unet.get_submodule(name).weight
    generator = torch.Generator().manual_seed(4)
    up, down = torch.randn(len(weight), 4, generator=generator), torch.randn(4, weight.shape[1], generator=generator)
    key = "lora_unet_" + name.replace(".", "_")
    lora = {f"{key}.lora_up.weight": up, f"{key}.lora_down.weight": down, f"{key}.alpha": torch.tensor(4.0)}
    merged = copy.deepcopy(unet)
    merged.get_submodule(name).weight.data += 0.5 * up @ down
    for first_lora in (True, False):
        if first_lora:
            patched, _ = comfy.sd.load_lora_for_models(model, None, lora, 0.5, 0.0)
            patched = apply.apply_adapter(patched, tokens)
        else:
            patched, _ = comfy.sd.load_lora_for_models(apply.apply_adapter(model, tokens), None, lora, 0.5, 0.0)
        assert difference_to_diffusers(merged, patched, tokens) <= oracle.TOLERANCE


def test_controlnet(unet, model, tokens):
    """The control is added as without the adapter, and the ControlNet's own attention is left alone."""
    config = {k: v for k, v in (models.COMMON | models.CONFIGS["SD1.5"]).items() if k != "out_channels"}
    config = {k: v for k, v in config.items() if k not in ("transformer_depth_output", "adm_in_channels")}
    network = comfy.cldm.cldm.ControlNet(**config, hint_channels=3, operations=comfy.ops.disable_weight_init)
    models.randomise(network)
    control = comfy.controlnet.ControlNet(network, load_device=model.load_device, manual_cast_dtype=None)
    hint = torch.rand(1, 128, 128, 3, generator=torch.Generator().manual_seed(6))
    positive, negative = ControlNetApplyAdvanced().apply_controlnet(
        models.conditioning(1), models.conditioning(2), control, hint, 0.7, 0.0, 1.0
    )
    records = []
    for candidate in (model, apply.apply_adapter(model, tokens)):
        candidate, record = observe(candidate)
        denoise_once(cfg_guider(candidate, positive, negative), models.latent(1))
        records.append(record)
    for plain, adapted in zip(*[record.inputs[0]["control"]["output"] for record in records], strict=True):
        assert torch.equal(plain, adapted)
    twin = copy.deepcopy(unet)
    oracle.install_processors(twin, tokens.adapter)
    assert oracle.largest_difference(twin, records[1], sides(tokens)) <= oracle.TOLERANCE


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float16, 0.02), (torch.bfloat16, 0.1), (torch.float8_e4m3fn, 1e-4)]
)
def test_half_and_fp8_unets(unet, tokens, dtype, tolerance):
    """fp8 weights are cast to float32 in each layer; the oracle has the same rounded weights."""
    fp8 = dtype == torch.float8_e4m3fn
    rounded = copy.deepcopy(unet)
    for parameter in rounded.parameters():
        parameter.data = parameter.data.to(dtype).float()
    model = models.comfy_model("SD1.5", unet, dtype, torch.float32 if fp8 else None)
    patched = apply.apply_adapter(model, tokens)
    assert difference_to_diffusers(rounded, patched, tokens) <= tolerance
    assert not torch.equal(predict(patched), predict(model))


def test_unloaded_and_reloaded_between_runs(model, tokens):
    patched = apply.apply_adapter(model, tokens)
    first = predict(patched)
    comfy.model_management.unload_all_models()
    assert torch.equal(predict(patched), first)


def test_nothing_stays_on_the_device_after_sampling(model, tokens):
    patched = apply.apply_adapter(model, tokens)
    runs = []

    def measure(forward, args):
        output = forward(args["input"], args["timestep"], **args["c"])
        runs.append(weakref.ref(args["c"]["transformer_options"][RUN]))
        tables = [kept for kept in runs[-1]().memory.values() if kept.is_floating_point()]
        sizes.append(sum(kept.nbytes for kept in tables))
        return output

    sizes: list[int] = []
    patched.set_model_unet_function_wrapper(measure)
    predict(patched, batch=3)
    width = sum(len(layer.key) for layer in tokens.adapter.layers)
    assert sizes == [2 * 2 * 2 * width * 4]  # two sides, K' and V', two tokens, float32: not times the batch
    gc.collect()
    assert runs[0]() is None


def double(q, k, v, extra_options):
    """A foreign replace patch."""
    return 2 * attention.optimized_attention(q, k, v, extra_options["n_heads"])


def test_an_existing_replace_patch_still_computes_the_text_attention(model, tokens):
    for key in (("input", 4, 0), ("input", 4)):  # registered for the layer, or for its whole block
        foreign = model.clone()
        foreign.set_model_attn2_replace(double, *key)
        only_there = {"weighting": "custom", "multipliers": "input.4=1"}
        patched = apply.apply_adapter(foreign, tokens, **only_there)
        assert not torch.equal(predict(patched), predict(foreign))
        near_zero = apply.apply_adapter(foreign, tokens, 1e-9, **only_there)
        assert_same(predict(near_zero), predict(foreign))


def test_a_kernel_of_another_pack_sees_every_row(model, tokens):
    """A pack's attention gets as many rows of K' and V' as of q, also where a batch shares them."""

    def kernel(chosen, q, k, v, *args, **kwargs):
        assert len(q) == len(k) == len(v)
        calls.append(k.shape[1])
        return chosen(q, k, v, *args, **kwargs)

    calls: list[int] = []
    mask = torch.rand(1, 64, 64, generator=torch.Generator().manual_seed(5))
    patched = apply.apply_adapter(model, tokens, 0.7, mask=mask)
    own = patched.clone()
    own.model_options["transformer_options"]["optimized_attention_override"] = kernel
    assert_same(predict(own, batch=3), predict(patched, batch=3))
    assert calls.count(tokens.cond.shape[1]) == len(tokens.adapter.layers)


def test_mask_of_zeros_and_ones(model, tokens):
    plain, whole = predict(model), predict(apply.apply_adapter(model, tokens))
    assert torch.equal(predict(apply.apply_adapter(model, tokens, mask=torch.zeros(1, 50, 70))), plain)
    assert_same(predict(apply.apply_adapter(model, tokens, mask=torch.ones(30, 20))), whole)


def test_masks_of_a_batch_go_to_their_images(model, tokens):
    masks = torch.stack([torch.zeros(64, 64), torch.ones(64, 64)])
    plain, whole = predict(model, batch=2), predict(apply.apply_adapter(model, tokens), batch=2)
    masked = predict(apply.apply_adapter(model, tokens, mask=masks), batch=2)
    assert_same(masked[0], plain[0])
    assert_same(masked[1], whole[1])


def test_mask_acts_at_its_place(model, tokens, monkeypatch):
    """In the layers, the quality attention is zero where the mask is zero, in the part that an area sees."""
    mask = torch.zeros(1, 128, 128)
    mask[:, :, 64:] = 1
    seen = []

    own = attention.attend

    def spy(out, q, keys, values, strength, extra_options, weight=None):
        result = own(out, q, keys, values, strength, extra_options, weight)
        height, width = extra_options["activations_shape"][-2:]
        changed = (result - out).abs().sum(-1).unflatten(1, (height, width)) > 0
        seen.append((height, width, changed))
        return result

    monkeypatch.setattr(attention, "attend", spy)
    patched = apply.apply_adapter(model, tokens, mask=mask)
    predict(patched)
    for _, width, changed in seen:
        assert changed[..., width // 2 + 1 :].all()
        assert width < 4 or not changed[..., : width // 2 - 1].any()
    seen.clear()
    left = [[embedding, {**options, "area": (16, 8, 0, 0)}] for embedding, options in models.conditioning(1)]
    predict(patched, positive=left)
    in_area = [(width, changed) for height, width, changed in seen if height == 2 * width]
    assert in_area and not any(changed[..., :-1].any() for width, changed in in_area if width >= 4)


def test_layer_weighting(model, tokens):
    def result(weighting, multipliers=""):
        return predict(apply.apply_adapter(model, tokens, weighting=weighting, multipliers=multipliers))

    assert torch.equal(result("all"), result("custom", "input=1, middle=1, output=1"))
    assert torch.equal(result("middle"), result("custom", "middle.0=1"))
    single = ", ".join(f"input.{block}=1" for block in (1, 2, 5, 7, 8))
    assert torch.equal(result("custom", "input=1, input.4=0"), result("custom", single))
    assert len({tuple(result(kind).flatten()[:8].tolist()) for kind in ("all", "input", "middle", "output")}) == 4


@pytest.mark.parametrize("adapter_first", [True, False])
def test_with_freeu_hypertile_and_pag(model, tokens, adapter_first):
    def others(candidate):
        freeu = getattr(FreeU_V2, "execute", None) or FreeU_V2().patch  # its name in newer and older ComfyUI
        candidate = freeu(candidate, 1.3, 1.4, 0.9, 0.2)[0]
        candidate = HyperTile.execute(candidate, 64, 2, 0, False)[0]
        return PerturbedAttentionGuidance.execute(candidate, 3.0)[0]

    torch.manual_seed(0)
    alone = predict(others(model))
    if adapter_first:
        together = others(apply.apply_adapter(model, tokens))
    else:
        together = apply.apply_adapter(others(model), tokens)
    torch.manual_seed(0)
    result = predict(together)
    assert result.isfinite().all() and not torch.allclose(result, alone)


def test_torch_compile(model, tokens):
    patched = apply.apply_adapter(model, tokens)
    compiled = patched.clone()
    set_torch_compile_wrapper(model=compiled, backend="eager")
    assert_same(predict(compiled), predict(patched))
