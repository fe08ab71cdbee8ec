"""Runs in float16, with min-SNR weights and with trackers."""

import json
import math

import comfy.model_base
import pytest
import torch
import training_models
from comfy.model_base import ModelType

from iqa_adapter.adapter import checkpoint
from iqa_adapter.training import loop, objective, state, stream, trainable


def train(folder, watch=None, model=None, **changes):
    settings = training_models.fast_settings(**changes)
    model = model or training_models.tiny_model()
    return loop.train(model, training_models.data(), settings, folder, watch or training_models.Watch())


def losses(folder):
    return [json.loads(line)["loss"] for line in (folder / "loss.jsonl").read_text().splitlines()]


def weights(adapter):
    return torch.cat([weight.flatten() for layer in adapter.layers for weight in (layer.key, layer.value)])


class Stop(Exception):
    """What cancels a run in these tests."""


def stop_at(step):
    def cancel(done, loss):
        if done == step:
            raise Stop

    return training_models.Watch(cancel)


# float16


def test_float16_learns_nearly_what_float32_learns(tmp_path):
    half, whole = (train(tmp_path / name, precision=name) for name in ("float16", "float32"))
    assert losses(tmp_path / "float16") == pytest.approx(losses(tmp_path / "float32"), rel=0.01)
    assert losses(tmp_path / "float16") != losses(tmp_path / "float32")
    assert {layer.key.dtype for layer in half.layers} == {torch.float32}
    assert (weights(half) - weights(whole)).abs().mean() < 0.2 * (weights(whole) - initial()).abs().mean()


def initial():
    unet, settings = training_models.tiny_model().model.diffusion_model, training_models.fast_settings()
    fresh = trainable.TrainableAdapter.from_unet(unet, 1, settings)
    return weights(fresh.to_adapter("fresh", training_models.METADATA))


@pytest.fixture()
def early_scale(monkeypatch):
    """Scales that overflow in the first steps and grow after two good ones, so that both happen in a few steps."""
    original = torch.amp.GradScaler

    def scaler(device, enabled):
        return original(device, init_scale=2.0**40, growth_interval=2, enabled=enabled)

    monkeypatch.setattr(torch.amp, "GradScaler", scaler)


def test_float16_skips_what_is_too_large_says_so_and_goes_on_bit_for_bit(tmp_path, early_scale):
    settings = {"precision": "float16", "steps": 40, "ema_decay": 0.5, "checkpoint_interval": 100}
    watch = training_models.Watch()
    whole = train(tmp_path / "whole", watch, **settings)
    kept = torch.load(tmp_path / "whole" / state.CHECKPOINT, weights_only=True)
    assert 0 < kept["skipped"] < 40 and 1 < kept["scaler"]["scale"] < 2.0**40
    (note,) = watch.notes
    assert note.startswith(
        f"{kept['skipped']} of 40 steps changed nothing, for their gradients were too large for float16"
    )
    assert all(math.isfinite(loss) for loss in losses(tmp_path / "whole"))
    for step in (3, kept["skipped"] + 4):  # while the scale falls, and when it has begun to grow
        with pytest.raises(Stop):
            train(tmp_path / "parts", stop_at(step), **settings)
    parts = train(tmp_path / "parts", **settings)
    assert torch.equal(weights(whole), weights(parts)) and losses(tmp_path / "parts") == losses(tmp_path / "whole")
    again = torch.load(tmp_path / "parts" / state.CHECKPOINT, weights_only=True)
    assert (again["scaler"], again["skipped"]) == (kept["scaler"], kept["skipped"])


def test_a_skipped_step_changes_no_weight(tmp_path, early_scale):
    adapter = train(tmp_path, precision="float16", steps=2, ema_decay=0.5)
    assert torch.equal(weights(adapter), initial())


def test_float16_that_never_becomes_finite_ends_the_run(tmp_path, monkeypatch):
    original = objective.Objective.loss
    monkeypatch.setattr(objective.Objective, "loss", lambda *arguments: original(*arguments) * float("nan"))
    with pytest.raises(loop.TrainingDiverged, match="diverged at step 17: loss nan.*use precision float32"):
        train(tmp_path, precision="float16", steps=100)  # 2 ** 16 is halved 16 times
    monkeypatch.undo()
    with pytest.raises(loop.TrainingDiverged, match="diverged at step 1: loss"):
        train(tmp_path / "float32", learning_rate=1e-2, model=broken())


def broken():
    model = training_models.tiny_model()
    next(model.model.diffusion_model.out.parameters()).data.fill_(float("nan"))
    return model


# min-SNR


def batch():
    settings = training_models.fast_settings(batch_size=8, quality_drop=0.0)
    items = stream.ItemStream(training_models.QualitySet(), training_models.EMPTY, settings)
    return next(iter(items.batches(0, 8, 0, 1)))


@pytest.mark.parametrize("prediction", [ModelType.EPS, ModelType.V_PREDICTION])
@pytest.mark.parametrize("gamma", [0.1, 1.0, 5.0])
def test_min_snr_weights_are_those_of_the_paper(prediction, gamma):
    """Of each picture alone: min(SNR, gamma)/SNR where noise is predicted, min(SNR, gamma)/(SNR + 1) where v is."""
    model, whole = training_models.tiny_model(prediction), batch()
    plain, weighted = (objective.Objective(model, "float32", value) for value in (0.0, gamma))
    sigma = objective.noise_levels(plain.model.model_sampling, whole.quantiles)
    snr = sigma.double() ** -2
    assert snr.min() < gamma < snr.max()
    expected = snr.clamp(max=gamma) / (snr if prediction is ModelType.EPS else snr + 1)
    losses = [0.0, 0.0]
    for i in range(8):
        alone = stream.Batch(
            *(getattr(whole, name)[i : i + 1] for name in ("latents", "noise", "quantiles", "quality", "keep")),
            whole.conditionings[i : i + 1],
        )
        before, after = (target.loss(None, alone).item() for target in (plain, weighted))
        assert after / before == pytest.approx(expected[i].item(), rel=1e-4)
        losses = [losses[0] + before / 8, losses[1] + after / 8]
    assert plain.loss(None, whole).item() == pytest.approx(losses[0], rel=1e-5)
    assert weighted.loss(None, whole).item() == pytest.approx(losses[1], rel=1e-5)


def edm():
    model = training_models.tiny_model()
    sampling = comfy.model_base.model_sampling(model.model.model_config, ModelType.EDM)
    sampling.set_parameters(0.002, 80.0, 0.5)  # as Playground 2.5 has it
    model.add_object_patch("model_sampling", sampling)
    return model


@pytest.mark.parametrize("make", [lambda: training_models.tiny_model(ModelType.FLOW), edm])
def test_min_snr_is_refused_where_it_is_not_defined(make, tmp_path):
    with pytest.raises(ValueError, match="min_snr_gamma 5 is for models that predict noise or v, and this.*neither"):
        train(tmp_path, model=make(), min_snr_gamma=5.0)
    assert not (tmp_path / "loss.jsonl").exists()


def test_min_snr_is_learnt_with(tmp_path):
    plain, weighted = (train(tmp_path / str(gamma), min_snr_gamma=gamma) for gamma in (0.0, 5.0))
    assert losses(tmp_path / "5.0")[0] < losses(tmp_path / "0.0")[0]
    assert not torch.equal(weights(plain), weights(weighted))


# Trackers


def test_tensorboard_gets_what_the_log_gets_and_none_gets_nothing(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    train(tmp_path / "none", tracker="none")
    assert not (tmp_path / "none" / "logs").exists()
    with pytest.raises(Stop):
        train(tmp_path / "board", stop_at(3), tracker="tensorboard")
    train(tmp_path / "board", tracker="none", steps=4)  # another one is no other run
    train(tmp_path / "board", tracker="tensorboard")
    assert losses(tmp_path / "none") == losses(tmp_path / "board")
    events = EventAccumulator(str(tmp_path / "board" / "logs")).Reload().Scalars("loss")
    assert [event.step for event in events] == [1, 2, 3, 5, 6]
    assert [event.value for event in events][:3] == pytest.approx(losses(tmp_path / "board")[:3])


def test_a_tracker_that_is_missing_is_said_before_any_work(tmp_path, monkeypatch):
    monkeypatch.setattr("accelerate.utils.is_wandb_available", lambda: False)
    with pytest.raises(ImportError, match="tracker: wandb needs a package: pip install wandb, or set tracker to none"):
        train(tmp_path, tracker="wandb")
    assert not (tmp_path / "loss.jsonl").exists()


def test_weights_and_biases(tmp_path, monkeypatch):
    pytest.importorskip("wandb").teardown()
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("WANDB_MODE", "offline")
    run = tmp_path / "run"
    train(run, tracker="wandb", steps=2)
    train(run, tracker="wandb", steps=3)
    assert len(list(run.glob("wandb/offline-run-*/run-*.wandb"))) == 2 and len(losses(run)) == 3


def test_weights_and_biases_without_an_account_is_refused_before_any_work(tmp_path, monkeypatch):
    pytest.importorskip("wandb").teardown()  # forgets the mode of earlier runs
    for name in ("WANDB_MODE", "WANDB_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(ValueError, match="tracker: wandb cannot start: there is no account. Run `wandb login`"):
        train(tmp_path, tracker="wandb")
    assert not (tmp_path / "loss.jsonl").exists()


# What is trained so is used so


def test_adapters_of_every_recipe_load(tmp_path):
    recipe = {"precision": "float16", "min_snr_gamma": 5.0, "noise_offset": 0.1, "use_flag": True}
    adapter = train(tmp_path, projection="mlp", mlp_width=32, **recipe)
    read = checkpoint.load_adapter(tmp_path / loop.RESULT)
    assert read.projection.mlp_width == 32 and torch.equal(weights(read), weights(adapter))
