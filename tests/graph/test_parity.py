"""The patched ComfyUI UNet equals diffusers' UNet with its IP-Adapter attention processors."""

import models
import pytest
import torch
from diffusers.models.attention_processor import AttnProcessor2_0, IPAdapterAttnProcessor2_0
from sampling import cfg_guider, denoise_once, observe

from comfyui_runtime import room

apply = room("adapter.apply")
projection = room("adapter.projection")

QUALITY = torch.tensor([[1.5, -0.7]])
TOLERANCE = 1e-4  # of the output's standard deviation


def install_processors(unet, adapter):
    """diffusers' own IP-Adapter processors, with the adapter's weights in diffusers' own order."""
    weights = iter(adapter.layers)
    processors = {}
    for name in unet.attn_processors:
        if name.endswith("attn1.processor"):
            processors[name] = AttnProcessor2_0()
            continue
        layer = next(weights)
        processor = IPAdapterAttnProcessor2_0(len(layer.key), adapter.width, num_tokens=(adapter.tokens,), scale=1.0)
        processor.to_k_ip[0].weight.data = layer.key
        processor.to_v_ip[0].weight.data = layer.value
        processors[name] = processor
    assert next(weights, None) is None, "the adapter has more layers than the diffusers UNet"
    unet.set_attn_processor(processors)


def diffusers_output(unet, call, tokens):
    """The same inputs through diffusers; ``tokens`` per row of the batch."""
    added = None
    if call["y"] is not None:  # SDXL: [pooled text, embeddings of six sizes]; feed them behind the embedding
        unet.add_time_proj = torch.nn.Identity()
        added = {"text_embeds": call["y"][:, :1280], "time_ids": call["y"][:, 1280:]}
    hidden = (call["context"], [tokens[:, None]])
    with torch.no_grad():
        return unet(call["x"], call["timesteps"], hidden, added_cond_kwargs=added).sample


@pytest.mark.parametrize("negative", ["zero", "negated"])
@pytest.mark.parametrize("mlp", [False, True], ids=["linear", "mlp"])
@pytest.mark.parametrize("family", list(models.CONFIGS))
def test_parity_with_diffusers(family, mlp, negative):
    unet = models.diffusers_unet(family)
    model = models.comfy_model(family, unet)
    adapter = models.random_adapter(model, mlp=mlp)
    if negative == "zero":
        tokens = projection.embed_quality(adapter, QUALITY)
    else:
        tokens = projection.embed_negated(adapter, QUALITY, 0.5)
    patched, record = observe(apply.apply_adapter(model, tokens))
    noise = models.latent(batch=2)
    denoise_once(cfg_guider(patched, models.conditioning(model, 1), models.conditioning(model, 2)), noise)

    install_processors(unet, adapter)
    largest = 0.0
    for call, output in zip(record.inputs, record.outputs, strict=True):
        rows = [tokens.cond if index == 0 else tokens.uncond for index in call["options"]["cond_or_uncond"]]
        rows = torch.cat([row.expand(len(noise), -1, -1) for row in rows])
        expected = diffusers_output(unet, call, rows)
        largest = max(largest, ((output - expected).abs().max() / expected.std()).item())
    print(f"\nparity {family:7} {'mlp' if mlp else 'linear':6} {negative:8} largest difference {largest:.2e} std")
    assert largest <= TOLERANCE
    assert len(adapter.layers) == models.LAYER_COUNTS[family]
