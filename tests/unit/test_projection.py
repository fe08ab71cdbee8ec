"""Quality input -> tokens."""

import math

import models
import pytest
import torch

from iqa_adapter.adapter import checkpoint, projection
from iqa_adapter.adapter.adapter import Adapter, LayerWeights
from iqa_adapter.adapter.tokens import embed_features, embed_negated, embed_quality


@pytest.mark.parametrize(
    ("use_flag", "octaves", "expected"),
    [
        (False, 0, [0.5]),
        (True, 0, [0.5, 1.0]),
        (False, 2, [0.5, math.sin(math.pi / 2), math.sin(math.pi), math.cos(math.pi / 2), math.cos(math.pi)]),
    ],
)
def test_encoding(use_flag, octaves, expected):
    encoding = projection.QualityEncoding(use_flag, octaves)
    encoded = encoding(torch.tensor([[0.5]]))
    torch.testing.assert_close(encoded, torch.tensor([expected]), atol=1e-6, rtol=0)
    assert encoded.shape[1] == encoding.width(1)


def test_positional_encoding_groups_values_sines_and_cosines():
    encoded = projection.QualityEncoding(octaves=2)(torch.tensor([[0.1, 0.2]]))[0]
    angles = torch.tensor([0.1, 0.2, 0.2, 0.4]) * math.pi  # value by value, octave by octave
    torch.testing.assert_close(encoded[2:6], angles.sin())
    torch.testing.assert_close(encoded[6:10], angles.cos())
    assert encoded[3] == pytest.approx(math.sin(0.2 * math.pi))


@pytest.mark.parametrize("width", [1, 2, 4, 7])
@pytest.mark.parametrize("use_flag", [False, True])
@pytest.mark.parametrize("octaves", [0, 10])
def test_encoding_is_inferred_from_the_width(width, use_flag, octaves):
    inputs = projection.QualityEncoding(use_flag, octaves).width(width)
    assert checkpoint.infer_encoding(inputs, width) == (use_flag, octaves)


def test_tokens_are_normalised():
    tokens = projection.QualityProjection(inputs=3, tokens=4, width=32, mlp_width=128)(torch.randn(5, 3))
    assert tokens.shape == (5, 4, 32)
    torch.testing.assert_close(tokens.mean(-1), torch.zeros(5, 4), atol=1e-5, rtol=0)


def test_unconditional_rows_are_those_of_the_zero_encoding():
    adapter = models.random_adapter(models.comfy_model("SD1.5"), use_flag=True)
    tokens = embed_quality(adapter, torch.tensor([[1.0, 2.0]]))
    torch.testing.assert_close(tokens.uncond, adapter.projection(torch.zeros(1, 3)))
    torch.testing.assert_close(tokens.cond, adapter.projection(torch.tensor([[1.0, 2.0, 1.0]])))
    negated = embed_negated(adapter, torch.tensor([[1.0, 2.0]]), 0.5)
    torch.testing.assert_close(negated.uncond, adapter.projection(torch.tensor([[-0.5, -1.0, -0.5]])))


def test_features_are_standardised_with_the_adapters_statistics():
    model = models.comfy_model("SD1.5")
    adapter = models.random_adapter(
        model,
        metrics=("a", "b", "c"),
        kind="reference",
        iqa_model="cnniqa",
        layer="fc2",
        pooling="mean",
        feature_mean=(1.0, 2.0, 3.0),
        feature_std=(2.0, 2.0, 2.0),
    )
    tokens = embed_features(adapter, torch.tensor([[3.0, 2.0, 1.0]]))
    torch.testing.assert_close(tokens.cond, adapter.projection(torch.tensor([[1.0, 0.0, -1.0]])))
    with pytest.raises(ValueError, match="expects 3 quality values per picture, but got 4"):
        embed_features(adapter, torch.zeros(1, 4))


def test_keys_and_values_are_computed_in_float32_from_half_weights():
    adapter = models.random_adapter(models.comfy_model("SD1.5"))
    half = Adapter(
        "half",
        adapter.metadata,
        adapter.projection,
        tuple(LayerWeights(layer.key.half(), layer.value.half()) for layer in adapter.layers),
    )
    tokens = torch.randn(2, 2, models.WIDTH)
    columns = [tokens @ weight.half().float().T for layer in adapter.layers for weight in (layer.key, layer.value)]
    torch.testing.assert_close(half.keys_values(tokens), torch.cat(columns, -1))
    assert half.keys_values(tokens).dtype == torch.float32


def test_score_adapters_refuse_features():
    adapter = models.random_adapter(models.comfy_model("SD1.5"))
    with pytest.raises(ValueError, match="conditioned on scores .topiq_nr, laion_aes., not on a reference"):
        embed_features(adapter, torch.zeros(1, 2))


def test_quality_that_is_not_finite_is_refused():
    adapter = models.random_adapter(models.comfy_model("SD1.5"))
    with pytest.raises(ValueError, match="not finite"):
        embed_quality(adapter, torch.tensor([[float("nan"), 0.0]]))
