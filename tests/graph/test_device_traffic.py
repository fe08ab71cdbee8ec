"""What the adapter adds to a forward: no value leaves the device, nothing is copied, a site costs two kernels."""

from collections import Counter

import comfy.samplers
import models
import pytest
import torch
from comfy.patcher_extension import WrappersMP
from sampling import Operators, cfg_guider
from torch.utils._python_dispatch import TorchDispatchMode

from iqa_adapter.adapter import apply, sites

COPIES = ("aten._to_copy", "aten.copy_", "aten.lift_fresh", "aten._local_scalar_dense", "aten.item")


def operators_of_forwards(model, steps=3, batch=2, positive=None):
    """Operators of every UNet forward of a sampling run, the pack's own wrapper included, and of the whole run."""
    model, counts = model.clone(), []

    def count(executor, *args, **kwargs):
        with Operators() as operators:
            result = executor(*args, **kwargs)
        counts.append(operators.counts)
        return result

    outermost = {WrappersMP.DIFFUSION_MODEL: {"counter": [count], **model.wrappers.get(WrappersMP.DIFFUSION_MODEL, {})}}
    model.wrappers.update(outermost)
    return counts, operators_of_run(model, steps, batch, positive)


def operators_of_run(model, steps, batch=2, positive=None):
    guider = cfg_guider(model, positive or models.conditioning(1), models.conditioning(2))
    sampler, latent = comfy.samplers.sampler_object("euler"), models.latent(batch)
    sigmas = comfy.samplers.calculate_sigmas(model.get_model_object("model_sampling"), "normal", steps)
    with torch.no_grad(), Operators() as operators:
        guider.sample(latent, torch.zeros_like(latent), sampler, sigmas, disable_pbar=True, seed=0)
    return operators.counts


def traffic_of_forwards(model):
    """Reads of single values, copies, and tensors made from Python numbers in every forward."""
    return [Counter({name: counts[name] for name in COPIES}) for counts in operators_of_forwards(model)[0]]


def test_forwards_read_and_copy_nothing():
    model = models.comfy_model("SD1.5")
    tokens = models.quality_tokens(models.random_adapter(model), (1.0, -0.5), (0.0, 0.5))
    patched = apply.apply_adapter(model, tokens, 0.8, 0.0, 0.95, mask=torch.rand(1, 64, 64))
    plain, ours = traffic_of_forwards(model), traffic_of_forwards(patched)
    assert len(ours) == len(plain) == 3
    for before, after in zip(plain[1:], ours[1:], strict=True):  # the first forward brings K', V' and the mask along
        assert after["aten._local_scalar_dense"] == 0
        assert after == before


def test_a_mask_is_brought_to_the_latent_once_in_a_run():
    class Sizes(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            if "upsample" in str(func):
                seen.append(tuple(args[0].shape[-2:]))
            return func(*args, **(kwargs or {}))

    seen: list[tuple[int, int]] = []
    model = models.comfy_model("SD1.5")
    tokens = models.quality_tokens(models.random_adapter(model), (1.0, -0.5))
    patched = apply.apply_adapter(model, tokens, mask=torch.rand(1, 64, 48))
    with Sizes():
        assert len(traffic_of_forwards(patched)) == 3
    assert seen.count((64, 48)) == 1


def test_the_layers_of_the_first_forward_read_nothing_either():
    model = models.comfy_model("SD1.5")
    patched = apply.apply_adapter(model, models.quality_tokens(models.random_adapter(model), (1.0, -0.5)))
    (first, *_) = traffic_of_forwards(patched)
    (plain, *_) = traffic_of_forwards(model)
    assert first["aten._local_scalar_dense"] == 0
    layers = len(sites.sites(model.model.diffusion_model))
    extra = sum(first.values()) - sum(plain.values())
    assert extra < layers / 2, "one table and one row index for all layers together"


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("mask", [None, torch.rand(1, 64, 64)], ids=["whole", "masked"])
def test_a_site_costs_one_attention_and_one_addition(mask, batch):
    """Whatever the batch: rows with the same tokens are one long row."""
    model = models.comfy_model("SD1.5")
    tokens = models.quality_tokens(models.random_adapter(model), (1.0, -0.5))
    patched = apply.apply_adapter(model, tokens, 0.8, mask=mask)
    (plain, *_), (_, *later) = (
        operators_of_forwards(model, batch=batch)[0],
        operators_of_forwards(patched, batch=batch)[0],
    )
    attention = "aten._scaled_dot_product_flash_attention_for_cpu"
    layers = len(sites.sites(model.model.diffusion_model))
    for ours in later:
        assert ours - plain == {attention: layers, "aten.add" if mask is None else "aten.addcmul": layers}


def test_rows_in_another_order_are_gathered_once_in_a_forward():
    model = models.comfy_model("SD1.5")
    patched = apply.apply_adapter(model, models.quality_tokens(models.random_adapter(model), (1.0, -0.5)))
    positive = [*models.conditioning(1), *models.conditioning(3)]
    plain, ours = (operators_of_forwards(each, positive=positive)[0][-1] for each in (model, patched))
    assert (ours - plain)["aten.index_select"] == 1


def test_a_noise_level_is_read_once_in_a_step_and_only_for_a_range():
    model = models.comfy_model("SD1.5")
    tokens = models.quality_tokens(models.random_adapter(model), (1.0, -0.5))

    def reads(candidate, steps):
        return operators_of_run(candidate, steps)["aten._local_scalar_dense"]

    always, ranged = apply.apply_adapter(model, tokens), apply.apply_adapter(model, tokens, 1.0, 0.1, 0.9)
    assert reads(always, 4) == reads(model, 4)
    added = [reads(ranged, steps) - reads(model, steps) for steps in (4, 8)]
    assert added[1] - added[0] == 4
