"""The loss through ComfyUI's model equals the loss that diffusers' training scripts write out."""

import comfy.model_base
import comfy.model_patcher
import models
import oracle
import pytest
import torch
import torch.nn.functional as F
import training_models
from comfy.model_base import ModelType
from diffusers import DDPMScheduler

from iqa_adapter.quickstart import model as quickstart
from iqa_adapter.training import forward, objective, stream, trainable

ROWS = 3
SIZE = torch.tensor([600.0, 500.0, 10.0, 20.0, 512.0, 448.0])


def batch(channels=4, size=8, context_width=models.WIDTH, pooled=False, quality=1, **conditioning):
    generator = torch.Generator().manual_seed(11)
    rows = [{"cross_attn": torch.randn(1, 7, context_width, generator=generator), **conditioning} for _ in range(ROWS)]
    for row in rows if pooled else ():
        row["pooled_output"] = torch.randn(1, 1280, generator=generator)
    return stream.Batch(
        latents=torch.randn(ROWS, channels, size, size, generator=generator),
        noise=torch.randn(ROWS, channels, size, size, generator=generator),
        quantiles=torch.tensor([0.0, 0.4567, 0.9999]),
        quality=torch.randn(ROWS, quality, generator=generator),
        keep=torch.tensor([[1.0], [0.0], [1.0]]),
        conditionings=rows,
    )


def learner(target, quality_width=1, **changes):
    settings = training_models.fast_settings(**changes)
    return trainable.TrainableAdapter.from_unet(target.unet, quality_width, settings).to(target.device)


def loss_of(target, learning, data):
    return target.loss(learning(data.quality.to(target.device), data.keep.to(target.device)), data)


def diffusers_loss(family, prediction, learning, data):
    """Noise, timestep, added noise, prediction, mean squared error, as diffusers' text-to-image script goes."""
    unet = models.diffusers_unet(family)
    adapter = learning.to_adapter("expected", training_models.METADATA)
    oracle.install_processors(unet, adapter)
    scheduler = DDPMScheduler(
        1000, beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012, prediction_type=prediction
    )
    timesteps = torch.tensor([0, 456, 999])
    added = None
    if family == "SDXL":
        pooled = torch.cat([row["pooled_output"] for row in data.conditionings])
        added = {"text_embeds": pooled, "time_ids": SIZE.expand(ROWS, -1)}
    text = torch.cat([row["cross_attn"] for row in data.conditionings])
    tokens = adapter.projection(adapter.encode(data.quality) * data.keep)
    noisy = scheduler.add_noise(data.latents, data.noise, timesteps)
    with torch.no_grad():
        predicted = unet(noisy, timesteps, (text, [tokens[:, None]]), added_cond_kwargs=added).sample
    if prediction == "epsilon":
        return F.mse_loss(predicted, data.noise)
    return F.mse_loss(predicted, scheduler.get_velocity(data.latents, data.noise, timesteps))


@pytest.mark.parametrize("family, prediction", [("SD1.5", "epsilon"), ("SD1.5", "v_prediction"), ("SDXL", "epsilon")])
def test_equals_the_loss_of_diffusers(family, prediction):
    model = models.comfy_model(family, models.diffusers_unet(family))
    if prediction == "v_prediction":
        sampling = comfy.model_base.model_sampling(model.model.model_config, ModelType.V_PREDICTION)
        model.add_object_patch("model_sampling", sampling)
    sizes = dict(zip(stream.SIZES, SIZE.tolist(), strict=True)) if family == "SDXL" else {}
    data = batch(pooled=family == "SDXL", **sizes)
    target = objective.Objective(model, "float32")
    learning = learner(target)
    actual = loss_of(target, learning, data)
    expected = diffusers_loss(family, prediction, learning, data)
    print(f"\n{family} {prediction}: {actual.item():.6f}, diffusers {expected.item():.6f}")
    assert actual.item() == pytest.approx(expected.item(), rel=1e-4)
    assert target.loss(None, data).item() != pytest.approx(expected.item(), rel=1e-3)


def test_flow_loss_is_that_of_the_velocity():
    target = objective.Objective(training_models.tiny_model(ModelType.FLOW), "float32")
    data = batch()
    sigma = target.model.model_sampling.sigmas[[0, 456, 999]]
    noise_share = sigma[:, None, None, None]
    context = torch.cat([row["cross_attn"] for row in data.conditionings])
    noisy = noise_share * data.noise + (1 - noise_share) * data.latents
    with torch.no_grad():
        velocity = target.unet(noisy, 1000 * sigma, context=context)
    expected = F.mse_loss(velocity, data.noise - data.latents)
    assert target.loss(None, data).item() == pytest.approx(expected.item(), rel=1e-4)


def test_noise_levels_are_uniform_over_the_models_timesteps():
    quantiles = torch.linspace(0, 1 - 1e-6, 5, dtype=torch.float64)
    discrete = training_models.tiny_model().model.model_sampling
    assert discrete.timestep(objective.noise_levels(discrete, quantiles)).tolist() == [0, 249, 499, 749, 999]
    config = training_models.tiny_model().model.model_config
    continuous = comfy.model_base.model_sampling(config, ModelType.V_PREDICTION_CONTINUOUS)
    times = continuous.timestep(objective.noise_levels(continuous, quantiles))
    assert torch.allclose(times.diff(), times.diff().mean(), rtol=1e-3)


@pytest.mark.parametrize("kind", ["linear", "mlp"])
def test_gradients_reach_the_whole_adapter_and_nothing_else(kind):
    target = objective.Objective(training_models.tiny_model(), "float32")
    learning, data = learner(target, projection=kind), batch()
    loss_of(target, learning, data).backward()
    for name, parameter in learning.named_parameters():
        assert parameter.grad.abs().sum() > 0, name
    for part in learning.weight.grad.split(learning.rows):  # W'_k and W'_v of every layer
        assert part.abs().sum() > 0
    assert not any(weight.requires_grad or weight.grad is not None for weight in target.model.parameters())


def test_recomputed_blocks_give_the_same_gradients():
    target = objective.Objective(models.comfy_model("SD1.5"), "float32")
    learning, data = learner(target), batch()
    plain = torch.autograd.grad(loss_of(target, learning, data), list(learning.parameters()))
    with forward.recomputed_blocks(target.unet):
        loss = loss_of(target, learning, data)
        again = torch.autograd.grad(loss, list(learning.parameters()))
    torch.testing.assert_close(again, plain)
    assert "forward" not in vars(target.unet.middle_block[0])


def test_bfloat16_is_close_to_float32():
    losses = {}
    for precision in ("float32", "bfloat16"):
        target = objective.Objective(training_models.tiny_model(), precision)
        learning, data = learner(target), batch()
        loss = loss_of(target, learning, data)
        loss.backward()
        losses[precision] = loss.item()
        assert learning.weight.grad.dtype == torch.float32
    assert losses["bfloat16"] == pytest.approx(losses["float32"], rel=0.02)
    assert losses["bfloat16"] != losses["float32"]


def test_prompts_of_different_lengths_train_together():
    target = objective.Objective(training_models.tiny_model(), "float32")
    data = batch()
    together = target.loss(None, data).item()
    row = data.conditionings[1]
    row["cross_attn"] = row["cross_attn"].repeat(1, 2, 1)  # each token twice: attention sees the same
    assert target.loss(None, data).item() == pytest.approx(together, rel=1e-5)


def test_loras_are_part_of_the_model():
    model = training_models.tiny_model().clone()
    key = "diffusion_model.middle_block.1.transformer_blocks.0.attn2.to_k.weight"
    weight = model.model.state_dict()[key].clone()
    model.add_patches({key: (torch.ones_like(weight),)}, 0.5)
    learning = learner(objective.Objective(model, "float32"))
    assert torch.equal(learning.weight.split(learning.rows)[-2], weight + 0.5)


def test_model_loaded_inside_a_graph():
    """ComfyUI runs nodes in inference mode, in which weights are made that autograd refuses."""
    with torch.inference_mode():
        model = training_models.tiny_model()
        assert next(model.model.parameters()).is_inference()
        with torch.inference_mode(False):
            target = objective.Objective(model, "float32")
            learning, data = learner(target), batch()
            loss_of(target, learning, data).backward()
            assert learning.weight.grad.abs().sum() > 0


def test_quickstart_model():
    base = quickstart.make_unet()
    models.randomise(base.diffusion_model)
    device = torch.device("cpu")
    target = objective.Objective(comfy.model_patcher.ModelPatcher(base, device, device), "float32")
    width = target.sites[0].context_width
    learning, data = learner(target, 3), batch(channels=12, size=32, context_width=width, quality=3)
    sigma = base.model_sampling.sigmas[[0, 456, 999]][:, None, None, None]
    angle = sigma.atan()  # v = cos(angle) noise - sin(angle) latent
    velocity = angle.cos() * data.noise - angle.sin() * data.latents
    context = torch.cat([row["cross_attn"] for row in data.conditionings])
    pooled = torch.randn(ROWS, base.adm_channels, generator=torch.Generator().manual_seed(2))
    for row, own in zip(data.conditionings, pooled, strict=True):
        row["pooled_output"] = own[None]
    with torch.no_grad():
        noisy = angle.cos() * (data.latents + sigma * data.noise)
        predicted = base.diffusion_model(
            noisy, torch.tensor([0.0, 456.0, 999.0]), context=context, y=pooled if base.adm_channels else None
        )
    assert target.loss(None, data).item() == pytest.approx(F.mse_loss(predicted, velocity).item(), rel=1e-4)
    loss_of(target, learning, data).backward()
    assert learning.weight.grad.abs().sum() > 0


def test_auto_avoids_emulated_bfloat16():
    """ComfyUI finds no CPU fast in bfloat16; a device that is, is asked the same way."""
    model = training_models.tiny_model()
    assert objective.Objective(model, "auto").dtype == torch.float32
    assert model.load_device.type == "cpu"
