"""Adapters learn on transformers: the loss is that of the model's own objective, and gradients reach every site."""

from __future__ import annotations

import contextlib
import dataclasses

import comfy.quant_ops
import pytest
import torch
import torch.nn.functional as F
import training_models
from torch import nn
from transformer_models import CASES, conditioning, latent, transformer

from iqa_adapter.adapter.sites import sites
from iqa_adapter.adapter.transformer_sites import Weights
from iqa_adapter.training import backward, forward, objective, stream, trainable

ROWS = 2


def batch(family, texts=(7, 7)):
    generator = torch.Generator().manual_seed(4)
    rows = []
    for number, tokens in enumerate(texts):
        ((text, extra),) = conditioning(family, number, tokens)
        extra.pop("guidance")
        rows.append({"cross_attn": text, **extra})
    latents = latent(family, ROWS, seed=1)
    return stream.Batch(
        latents=latents,
        noise=torch.randn(latents.shape, generator=generator),
        quantiles=torch.tensor([0.3, 0.8]),
        quality=torch.randn(ROWS, 1, generator=generator),
        keep=torch.ones(ROWS, 1),
        conditionings=rows,
    )


def learner(target):
    return trainable.TrainableAdapter.from_unet(target.unet, 1, training_models.fast_settings())


def loss_of(target, learning, data):
    return target.loss(learning(data.quality, data.keep), data)


@pytest.mark.parametrize("family", list(CASES))
def test_gradients_reach_every_site(family):
    target = objective.Objective(transformer(family), "float32")
    learning = learner(target)
    loss_of(target, learning, batch(family)).backward()
    names = [site.name for site in target.sites for _ in ("key", "value")]
    parts = learning.weight.grad.split(learning.rows)
    assert not [name for name, part in zip(names, parts, strict=True) if not part.abs().sum() > 0]
    assert learning.projection.proj.weight.grad.abs().sum() > 0
    assert not any(weight.requires_grad for weight in target.model.parameters())
    assert not [module for module in target.unet.modules() if module._forward_pre_hooks]


@pytest.mark.parametrize("family", ["Flux", "Z-Image", "Wan"])
def test_recomputed_blocks_give_the_same_gradients(family):
    target = objective.Objective(transformer(family), "float32")
    gradients = []
    for context in (contextlib.nullcontext, lambda: forward.recomputed_blocks(target.unet)):
        learning = learner(target)
        with context():
            loss_of(target, learning, batch(family)).backward()
        gradients.append(learning.weight.grad)
    assert (gradients[0] - gradients[1]).abs().max() < 1e-5 * gradients[0].abs().max()


@pytest.mark.parametrize("family", ["Flux", "Z-Image"])
def test_the_loss_is_that_of_the_velocity(family):
    target, data = objective.Objective(transformer(family), "float32"), batch(family)
    sampling = target.model.model_sampling
    sigma = objective.noise_levels(sampling, data.quantiles)
    share = sigma[:, None, None, None]
    noisy = torch.lerp(data.latents, data.noise, share)
    text = torch.cat([row["cross_attn"] for row in data.conditionings])
    pooled = torch.cat([row["pooled_output"] for row in data.conditionings])
    more = {"y": pooled, "guidance": torch.full((ROWS,), objective.GUIDANCE)} if family == "Flux" else {"num_tokens": 7}
    with torch.no_grad():
        velocity = target.unet(noisy, sampling.timestep(sigma).float(), text, **more)
    expected = F.mse_loss(velocity, data.noise - data.latents)
    assert target.loss(None, data).item() == pytest.approx(expected.item(), rel=1e-4)


def test_texts_of_different_lengths():
    target, data = objective.Objective(transformer("Z-Image"), "float32"), batch("Z-Image", (7, 19))
    learning = learner(target)
    both = loss_of(target, learning, data)
    single = []
    for row in range(ROWS):
        part = {
            name: getattr(data, name)[row : row + 1] for name in ("latents", "noise", "quantiles", "quality", "keep")
        }
        alone = dataclasses.replace(data, **part, conditionings=[data.conditionings[row]])
        single.append(loss_of(target, learning, alone).item())
    assert both.item() == pytest.approx(sum(single) / ROWS, rel=1e-5)


@pytest.mark.parametrize("family", ["Flux", "Z-Image"])
def test_a_few_steps_lower_the_loss(family):
    target, data = objective.Objective(transformer(family), "float32"), batch(family)
    learning = learner(target)
    optimizer = torch.optim.AdamW(learning.parameters(), lr=3e-3)
    losses = []
    for _ in range(4):
        optimizer.zero_grad()
        loss = loss_of(target, learning, data)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    adapter = learning.to_adapter("learnt", training_models.METADATA)
    assert adapter.shapes == [(site.width, site.context_width) for site in target.sites]


def test_what_has_no_backward_pass_is_computed_the_same():
    kernels = getattr(comfy.quant_ops, "ck", None)
    if not hasattr(kernels, "rms_rope_split_half"):
        pytest.skip("this version of ComfyUI has no such kernel")
    generator = torch.Generator().manual_seed(0)
    q, k = torch.randn(2, 2, 24, 2, 8, generator=generator)
    rotation = torch.randn(1, 24, 1, 4, 2, 2, generator=generator)
    arguments = q, k, rotation, torch.rand(8, generator=generator), torch.rand(8, generator=generator), 1e-6
    expected = kernels.rms_rope_split_half(*arguments)
    with forward.differentiable(transformer("Flux").model.diffusion_model):
        actual = kernels.rms_rope_split_half(*arguments)
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(actual, expected, strict=True))
    assert kernels.rms_rope_split_half(*arguments)[0].equal(expected[0])


def test_initial_weights_are_the_texts_own():
    model = transformer("Flux").model.diffusion_model
    double, single = model.double_blocks[1], model.single_blocks[2]
    found = {site.name: site for site in sites(model)}
    key, value = found["double.1"].initial_weights()
    assert torch.equal(key, double.txt_attn.qkv.weight[32:64]) and torch.equal(value, double.txt_attn.qkv.weight[64:])
    key, value = found["single.2"].initial_weights()
    assert torch.equal(key, single.linear1.weight[32:64]) and torch.equal(value, single.linear1.weight[64:96])


def test_grouped_heads_share_their_initial_weights():
    model = transformer("Lumina 2").model.diffusion_model
    attention = model.layers[0].attention
    key, value = sites(model)[0].initial_weights()
    x = torch.randn(3, 32)
    _, k, v = attention.qkv(x).split([32, 16, 16], -1)
    for weight, part in ((key, k), (value, v)):
        expected = part.unflatten(-1, (2, 8)).repeat_interleave(2, 1).flatten(1)
        assert torch.allclose(x @ weight.T, expected, atol=1e-5)


def gradient(model, twin=None):
    """Of the adapter's weights; with the weights of another model in the place of its own."""
    if twin is not None:
        state = {name: value.float() for name, value in twin.model.diffusion_model.state_dict().items()}
        model.model.diffusion_model.load_state_dict(state)
    target = objective.Objective(model, "float32")
    learning = learner(target)
    loss_of(target, learning, batch("Flux")).backward()
    return learning.weight.grad


@torch.inference_mode()
def fp8():
    """As nodes of ComfyUI load it."""
    return transformer("Flux", torch.float8_e4m3fn, torch.float32)


def test_gradients_pass_through_fp8_weights():
    model = fp8()
    backward.check_backward(model)
    assert model.model.diffusion_model.double_blocks[0].img_attn.proj.weight.dtype == torch.float8_e4m3fn
    expected = gradient(transformer("Flux"), twin=model)
    assert (gradient(model) - expected).abs().max() < 1e-4 * expected.abs().max()


class Lost(nn.Linear):
    """Computes with what it makes of its input, as layers with quantised activations do."""

    def forward(self, x):
        return F.linear(x.detach(), self.weight.float(), self.bias)


class Refusing(Lost):
    def forward(self, x):
        raise NotImplementedError("the kernel has no backward pass\nand says more")


@pytest.mark.parametrize(("kind", "why"), [(Lost, "the gradient is lost"), (Refusing, "the kernel has no backward")])
def test_layers_without_a_backward_pass_are_refused_by_name(kind, why):
    model = fp8()
    layer = kind(32, 32)
    layer.weight = nn.Parameter(layer.weight.to(torch.float8_e4m3fn), requires_grad=False)
    model.model.diffusion_model.double_blocks[1].img_attn.proj = layer
    with pytest.raises(ValueError, match=rf"through double_blocks.1.img_attn.proj .*, {kind.__name__} with .*{why}"):
        backward.check_backward(model)


class Quantised(nn.Linear):
    """A layer whose weight is no numbers until it is used, as that of GGUF and scaled fp8."""

    def __init__(self):
        super().__init__(6, 8)
        true = self.weight.detach().clone()
        self.weight = nn.Parameter((true * 127).round().char(), requires_grad=False)

    def forward(self, x):
        return F.linear(x, self.weight.float() / 127, self.bias)


def test_initial_weights_of_quantised_layers():
    layer = Quantised()
    assert torch.allclose(Weights(layer, (2, 6)).read(), layer.weight[2:6].float() / 127, atol=1e-6)
