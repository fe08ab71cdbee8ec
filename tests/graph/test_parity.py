"""The patched ComfyUI UNet equals diffusers' UNet with its IP-Adapter attention processors."""

import models
import oracle
import pytest
import torch
from sampling import cfg_guider, denoise_once, observe

from iqa_adapter.adapter import apply
from iqa_adapter.adapter.adapter import Adapter, LayerWeights
from iqa_adapter.adapter.tokens import embed_negated, embed_quality

QUALITY = torch.tensor([[1.5, -0.7]])


@pytest.mark.parametrize("negative", ["zero", "negated"])
@pytest.mark.parametrize("mlp", [False, True], ids=["linear", "mlp"])
@pytest.mark.parametrize("family", list(models.CONFIGS))
def test_parity_with_diffusers(family, mlp, negative):
    unet = models.diffusers_unet(family)
    model = models.comfy_model(family, unet)
    adapter = models.random_adapter(model, mlp=mlp)
    tokens = embed_quality(adapter, QUALITY) if negative == "zero" else embed_negated(adapter, QUALITY, 0.5)
    patched, record = observe(apply.apply_adapter(model, tokens))
    guider = cfg_guider(patched, models.conditioning(1), models.conditioning(2))
    denoise_once(guider, models.latent(batch=2))

    oracle.install_processors(unet, adapter)
    sides = (tokens.cond[0], tokens.uncond[0])
    difference = oracle.largest_difference(
        unet, record, lambda call, row: sides[call["options"]["cond_or_uncond"][row // 2]]
    )
    print(f"\nparity {family:7} {'mlp' if mlp else 'linear':6} {negative:8} largest difference {difference:.2e} std")
    assert difference <= oracle.TOLERANCE
    assert len(adapter.layers) == models.LAYER_COUNTS[family]


@pytest.mark.parametrize("family", list(models.CONFIGS))
def test_every_layer_acts(family):
    """Each layer changes the output when it alone has weights, so none is registered under a key that never fires."""
    model = models.comfy_model(family)
    adapter = models.random_adapter(model)
    plain = _predict(model)
    zero = [LayerWeights(0 * layer.key, 0 * layer.value) for layer in adapter.layers]
    silent = [
        number
        for number, layer in enumerate(adapter.layers)
        if torch.equal(plain, _predict(_with_layers(model, adapter, [*zero[:number], layer, *zero[number + 1 :]])))
    ]
    assert not silent, f"layers without effect: {silent} of {len(zero)}"


def _with_layers(model, adapter, layers):
    alone = Adapter("alone", adapter.metadata, adapter.projection, tuple(layers))
    return apply.apply_adapter(model, embed_quality(alone, QUALITY))


def _predict(model):
    return denoise_once(cfg_guider(model, models.conditioning(1), [], cfg=1.0), models.latent(height=8, width=8))
