"""Inside a forward, no value leaves the device and nothing is copied to it."""

from collections import Counter

import comfy.samplers
import models
import torch
from comfy.patcher_extension import WrappersMP
from sampling import cfg_guider
from torch.utils._python_dispatch import TorchDispatchMode

from iqa_adapter.adapter import apply, sites

COPIES = ("aten._to_copy", "aten.copy_", "aten.lift_fresh", "aten._local_scalar_dense", "aten.item")


class Traffic(TorchDispatchMode):
    """Counts reads of single values, copies, and tensors made from Python numbers."""

    def __init__(self):
        super().__init__()
        self.counts = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = str(func).rsplit(".", 1)[0]
        if name in COPIES:
            self.counts[name] += 1
        return func(*args, **(kwargs or {}))


def traffic_of_forwards(model, steps=3):
    """Traffic of every UNet forward of a sampling run, the pack's own wrapper included."""
    model, counts = model.clone(), []

    def count(executor, *args, **kwargs):
        with Traffic() as traffic:
            result = executor(*args, **kwargs)
        counts.append(traffic.counts)
        return result

    outermost = {WrappersMP.DIFFUSION_MODEL: {"counter": [count], **model.wrappers.get(WrappersMP.DIFFUSION_MODEL, {})}}
    model.wrappers.update(outermost)
    guider = cfg_guider(model, models.conditioning(1), models.conditioning(2))
    sampler = comfy.samplers.sampler_object("euler")
    sigmas = comfy.samplers.calculate_sigmas(model.get_model_object("model_sampling"), "normal", steps)
    with torch.no_grad():
        guider.sample(models.latent(2), torch.zeros(2, 4, 16, 16), sampler, sigmas, disable_pbar=True, seed=0)
    return counts


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
