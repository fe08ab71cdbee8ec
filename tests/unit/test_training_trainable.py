"""The trainable adapter is an adapter: same K' and V', same files."""

import models
import pytest
import torch
import training_models

from iqa_adapter.adapter import tokens
from iqa_adapter.training import trainable


@pytest.mark.parametrize("kind", ["linear", "mlp"])
def test_computes_what_the_finished_adapter_computes(kind):
    model = training_models.tiny_model()
    settings = training_models.fast_settings(projection=kind, use_flag=True, positional_octaves=2, tokens=3)
    learning = trainable.TrainableAdapter.from_unet(model.model.diffusion_model, 1, settings)
    adapter = learning.to_adapter("trained", training_models.METADATA)
    quality = torch.tensor([[0.3], [-1.2]])
    expected = tokens.embed_quality(adapter, quality).keys_values  # unconditional rows, then conditional ones
    actual = learning(quality.repeat(2, 1), torch.tensor([[0.0], [0.0], [1.0], [1.0]]))
    assert torch.allclose(actual, expected, atol=1e-6)
    assert adapter.metadata.use_flag and adapter.metadata.positional_octaves == 2 and adapter.tokens == 3


def test_starts_from_the_layers_own_weights():
    unet = training_models.tiny_model().model.diffusion_model
    adapter = trainable.TrainableAdapter.from_unet(unet, 1, training_models.fast_settings()).to_adapter(
        "fresh", training_models.METADATA
    )
    attentions = [
        block.attn2
        for part in (unet.input_blocks, unet.output_blocks, unet.middle_block)
        for block in part.modules()
        if hasattr(block, "attn2")
    ]
    assert len(attentions) == len(adapter.layers) == 7
    for attention, layer in zip(attentions, adapter.layers, strict=True):
        assert torch.equal(attention.to_k.weight, layer.key) and torch.equal(attention.to_v.weight, layer.value)


def test_continues_from_an_adapter():
    model = training_models.tiny_model()
    adapter = models.random_adapter(model, mlp=True, use_flag=True)
    learning = trainable.TrainableAdapter.from_adapter(adapter, model.model.diffusion_model, 2)
    tokens = torch.randn(2, 2, models.WIDTH)
    assert torch.allclose(learning.keys_values(tokens), adapter.keys_values(tokens), atol=1e-6)
    assert all(parameter.requires_grad for parameter in learning.parameters())
    with pytest.raises(ValueError, match="expects 2 quality values"):
        trainable.TrainableAdapter.from_adapter(adapter, model.model.diffusion_model, 3)
    with pytest.raises(ValueError, match="was made for"):
        trainable.TrainableAdapter.from_adapter(adapter, models.comfy_model("SD1.5").model.diffusion_model, 2)
