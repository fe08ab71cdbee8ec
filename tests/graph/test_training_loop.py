"""Training: what it learns, how it stops and goes on, and what it leaves behind."""

import dataclasses
import itertools
import json

import comfy.model_management
import models
import oracle
import pytest
import torch
import training_models
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from comfy.model_base import ModelType
from full_disk import full_disk, limits_files
from sampling import cfg_guider, denoise_once

from iqa_adapter.adapter import apply, checkpoint, tokens
from iqa_adapter.training import loop, memory, objective, stream, trainable


def train(folder, model=None, dataset=None, progress=None, initial=None, watch=None, **changes):
    model = model or training_models.tiny_model()
    settings = training_models.fast_settings(**changes)
    watch = watch or training_models.Watch(progress or (lambda step, loss: None))
    return loop.train(model, training_models.data(dataset), settings, folder, watch, initial)


def losses(folder):
    return [json.loads(line) for line in (folder / "loss.jsonl").read_text().splitlines()]


def tensors(adapter):
    weights = [weight for layer in adapter.layers for weight in (layer.key, layer.value)]
    return [*adapter.projection.state_dict().values(), *weights]


def same(left, right):
    return all(torch.equal(a, b) for a, b in zip(tensors(left), tensors(right), strict=True))


class Stop(Exception):
    """What cancels a run in these tests."""


def stop_at(step):
    def progress(done, loss):
        if done == step:
            raise Stop

    return progress


def test_the_adapter_stays_on_the_models_device(tmp_path, monkeypatch):
    """Accelerate keeps the device that it was first asked for, also for a model that is on another one."""
    monkeypatch.setenv("ACCELERATE_TORCH_DEVICE", "meta")
    AcceleratorState._reset_state(reset_partial_state=True)
    try:
        adapter = train(tmp_path, steps=1)
        assert Accelerator().device.type == "meta"
    finally:
        AcceleratorState._reset_state(reset_partial_state=True)
    assert all(weight.isfinite().all() for weight in tensors(adapter))


# What it learns


@pytest.fixture(scope="module")
def base():
    """A small v-prediction model that has learnt latents of every quality, and the objective it was trained with."""
    model = training_models.tiny_model(ModelType.V_PREDICTION)
    target = objective.Objective(model, "float32")
    target.unet.requires_grad_(True)
    optimizer = torch.optim.Adam(target.unet.parameters(), 2e-3)
    settings = training_models.fast_settings(batch_size=8)
    data = stream.ItemStream(training_models.QualitySet(512), training_models.EMPTY, settings)
    for batch in data.batches(0, 8 * 80, 0, 1):
        optimizer.zero_grad()
        target.loss(None, batch).backward()
        optimizer.step()
    return model


def test_learns_what_quality_does(base, tmp_path):
    data = training_models.QualitySet(512)
    adapter = train(tmp_path, base, data, steps=50, batch_size=8, ema_decay=0.9)

    target = objective.Objective(base, "float32")
    settings = training_models.fast_settings(seed=1, batch_size=64, quality_drop=0.0, both_drop=0.0)
    batch = next(iter(stream.ItemStream(data, training_models.EMPTY, settings).batches(0, 64, 0, 1)))
    with torch.no_grad():
        learnt = trainable.TrainableAdapter.from_adapter(adapter, target.unet, 1)
        frozen, trained = target.loss(None, batch), target.loss(learnt(batch.quality, batch.keep), batch)

    levels = torch.linspace(-2, 2, 9)
    noise = models.latent(batch=4, height=8, width=8)
    brightness = []
    for level in levels:
        patched = apply.apply_adapter(base, tokens.embed_quality(adapter, level[None, None]))
        denoised = denoise_once(cfg_guider(patched, models.conditioning(1), [], cfg=1.0), noise, sigma=10.0)
        brightness.append((base.model.process_latent_in(denoised) * training_models.DIRECTION).mean().item())
    print(f"\nloss {frozen:.4f} -> {trained:.4f}; brightness {[f'{value:.3f}' for value in brightness]}")
    assert trained < 0.9 * frozen
    assert all(low < high for low, high in itertools.pairwise(brightness))


# How it stops and goes on


def test_interrupted_training_ends_as_if_it_had_not_been(tmp_path):
    settings = {"ema_decay": 0.5, "gradient_accumulation": 2, "late_from": 0.5, "checkpoint_interval": 2}
    whole = train(tmp_path / "whole", **settings)
    with pytest.raises(Stop):
        train(tmp_path / "parts", progress=stop_at(3), **settings)
    assert not same(checkpoint.load_adapter(tmp_path / "parts" / loop.RESULT), whole)  # what it had learnt so far
    parts = train(tmp_path / "parts", **settings)
    assert losses(tmp_path / "parts") == losses(tmp_path / "whole") and len(losses(tmp_path / "whole")) == 6
    assert same(whole, parts)


def test_killed_training_repeats_the_steps_after_its_checkpoint(tmp_path, monkeypatch):
    """As after a power failure: the log is ahead of the checkpoint."""
    whole = train(tmp_path / "whole")
    with monkeypatch.context() as patch, pytest.raises(Stop):
        patch.setattr(loop._Run, "_save", lambda run: run.state.step == 2 and run.state.save(run.folder))
        train(tmp_path / "parts", progress=stop_at(5), checkpoint_interval=2)
    assert len(losses(tmp_path / "parts")) == 5
    parts = train(tmp_path / "parts", checkpoint_interval=2)
    assert losses(tmp_path / "parts") == losses(tmp_path / "whole")
    assert same(whole, parts)


@pytest.mark.parametrize("base", [Exception, BaseException], ids=["ComfyUI 0.3.75", "ComfyUI 0.33"])
def test_cancelling_in_comfyui_keeps_what_there_is(tmp_path, monkeypatch, base):
    interrupt = type("InterruptProcessingException", (base,), {})
    monkeypatch.setattr(comfy.model_management, "InterruptProcessingException", interrupt)
    whole = train(tmp_path / "whole")

    def cancel(step, loss):
        comfy.model_management.interrupt_current_processing(step == 2)

    with pytest.raises(comfy.model_management.InterruptProcessingException):
        train(tmp_path / "parts", progress=cancel)
    assert [entry["step"] for entry in losses(tmp_path / "parts")] == [1, 2]
    assert not same(whole, checkpoint.load_adapter(tmp_path / "parts" / loop.RESULT))  # what it had learnt so far
    assert same(whole, train(tmp_path / "parts"))


def test_reading_in_threads_changes_nothing(tmp_path):
    assert same(train(tmp_path / "here", steps=20), train(tmp_path / "there", steps=20, workers=3))


def test_finished_training_can_be_prolonged_but_not_changed(tmp_path):
    first = train(tmp_path, steps=2, late_from=1.0)
    assert same(first, train(tmp_path, steps=2, late_from=1.0))
    assert not same(first, train(tmp_path, steps=3, late_from=1.0))
    assert len(losses(tmp_path)) == 3
    with pytest.raises(ValueError, match=r"other settings \(learning_rate 0.01, now 0.5\)"):
        train(tmp_path, steps=3, late_from=1.0, learning_rate=0.5)
    with pytest.raises(ValueError, match="4 items per step, now it would be 8"):
        train(tmp_path, steps=3, late_from=1.0, gradient_accumulation=2)
    with pytest.raises(ValueError, match="trained for another UNet"):
        train(tmp_path, models.comfy_model("SD1.5"), steps=3, late_from=1.0)


def test_goes_on_from_a_checkpoint_that_is_older_than_a_setting(tmp_path):
    whole = train(tmp_path / "whole", steps=3, late_from=1.0)
    train(tmp_path / "parts", steps=2, late_from=1.0)
    file = tmp_path / "parts" / "checkpoint.pt"
    state = torch.load(file, weights_only=True)
    del state["settings"]["timestep_power"]
    torch.save(state, file)
    with pytest.raises(ValueError, match=r"other settings \(timestep_power 1.0, now 2.0\)"):
        train(tmp_path / "parts", steps=3, late_from=1.0, timestep_power=2.0)
    assert same(whole, train(tmp_path / "parts", steps=3, late_from=1.0))


def test_diverged_training_stops_and_keeps_the_last_checkpoint(tmp_path):
    train(tmp_path, steps=2, late_from=1.0)
    good = (tmp_path / "checkpoint.pt").read_bytes()

    class Exploding(training_models.QualitySet):
        def __getitem__(self, index):
            item = super().__getitem__(index)
            return item | {"latent": item["latent"] * float("inf")}

    with pytest.raises(loop.TrainingDiverged, match=r"diverged at step 3: loss .* last good checkpoint is kept in"):
        train(tmp_path, dataset=Exploding(), steps=4, late_from=1.0)
    assert (tmp_path / "checkpoint.pt").read_bytes() == good
    with pytest.raises(loop.TrainingDiverged, match="There is no checkpoint yet"):
        train(tmp_path / "new", dataset=Exploding())


needs_limits = pytest.mark.skipif(not limits_files, reason="needs limits on the size of files")


@needs_limits
def test_full_disk_keeps_the_checkpoints_before(tmp_path):
    with full_disk(10_000), pytest.raises(OSError, match="step 6 could not .* full.* it begins again"):
        train(tmp_path / "new")
    train(tmp_path, steps=2, late_from=1.0)
    kept = {path.name: path.read_bytes() for path in tmp_path.glob("*.pt")}
    with full_disk(10_000), pytest.raises(OSError, match="Make room .* it goes on from step 2"):
        train(tmp_path, steps=4, late_from=1.0)
    assert {path.name: path.read_bytes() for path in tmp_path.glob("*.pt")} == kept
    assert not list(tmp_path.glob(".*.part"))


@pytest.mark.parametrize("damage", ["half", "empty", "other", "bit"])
def test_a_damaged_checkpoint_falls_back_to_the_one_before(tmp_path, damage):
    whole = train(tmp_path / "whole")
    with pytest.raises(Stop):
        train(tmp_path / "parts", progress=stop_at(4), checkpoint_interval=2)
    names = sorted(path.name for path in (tmp_path / "parts").glob("*.pt"))
    assert names == ["checkpoint.previous.pt", "checkpoint.pt"]
    file = tmp_path / "parts" / "checkpoint.pt"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    torch.save({"step": 4}, other := tmp_path / "other.pt")
    file.write_bytes(
        {"half": content[: len(content) // 2], "empty": b"", "other": other.read_bytes(), "bit": content}[damage]
    )
    seen = training_models.Watch()
    assert same(whole, train(tmp_path / "parts", watch=seen))
    assert len(seen.losses) == 4  # on from step 2
    for path in (tmp_path / "parts").glob("*.pt"):
        path.write_bytes(b"PK half a file")
    with pytest.raises(ValueError, match=r"checkpoint.pt and checkpoint.previous.pt .* damaged.*choose another name"):
        train(tmp_path / "parts")


def test_a_kill_between_both_renames_loses_nothing(tmp_path):
    whole = train(tmp_path / "whole")
    with pytest.raises(Stop):
        train(tmp_path / "parts", progress=stop_at(3))
    (tmp_path / "parts" / "checkpoint.pt").rename(tmp_path / "parts" / "checkpoint.previous.pt")
    assert same(whole, train(tmp_path / "parts"))


def test_every_nth_adapter_is_kept(tmp_path):
    final = train(tmp_path, adapter_interval=2)
    kept = [checkpoint.load_adapter(path) for path in sorted((tmp_path / "adapters").iterdir())]
    assert [adapter.name for adapter in kept] == ["000002.safetensors", "000004.safetensors", "000006.safetensors"]
    assert same(kept[-1], final) and not same(kept[0], kept[1])


def rates(folder):
    return [entry["learning_rate"] for entry in losses(folder)]


def test_a_prolonged_run_keeps_its_low_learning_rate_and_says_so(tmp_path):
    train(tmp_path / "low", steps=5)
    seen = training_models.Watch()
    train(tmp_path / "low", steps=10, watch=seen)
    assert rates(tmp_path / "low") == [1e-2] * 4 + [1e-3] * 6
    assert "Prolonged to 10 steps: the learning rate had already fallen to 0.001" in seen.notes[0]
    train(tmp_path / "asked", steps=5)
    seen = training_models.Watch()
    train(tmp_path / "asked", steps=10, watch=seen, warm_restart=True)
    assert rates(tmp_path / "asked") == [1e-2] * 4 + [1e-3] + [1e-2] * 3 + [1e-3] * 2
    assert "is 0.01 again up to step 8" in seen.notes[0]


def test_a_run_prolonged_before_its_learning_rate_fell_is_as_one_that_was_planned_so(tmp_path):
    with pytest.raises(Stop):
        train(tmp_path / "parts", steps=5, progress=stop_at(3))
    seen = training_models.Watch()
    parts = train(tmp_path / "parts", steps=10, watch=seen)
    assert rates(tmp_path / "parts") == [1e-2] * 8 + [1e-3] * 2 and seen.notes == []
    assert same(parts, train(tmp_path / "whole", steps=10))


def test_fewer_steps_than_are_done_are_refused(tmp_path):
    train(tmp_path, steps=3)
    with pytest.raises(ValueError, match="already learnt 3 steps, and steps is 2. Ask for at least 3, choose another"):
        train(tmp_path, steps=2)


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory"), None], ids=["GPU", "main memory"])
def test_out_of_memory_says_what_to_lower(tmp_path, monkeypatch, error):
    def exhausted(*_):
        if error:
            raise error
        torch.empty(2**60)

    monkeypatch.setattr(objective.Objective, "loss", exhausted)
    with pytest.raises(memory.TrainingOutOfMemory, match="Out of memory while training: lower batch_size"):
        train(tmp_path)


def test_accumulation_equals_a_larger_batch(tmp_path):
    once = train(tmp_path / "once", steps=1, batch_size=8)
    twice = train(tmp_path / "twice", steps=1, batch_size=4, gradient_accumulation=2)
    assert losses(tmp_path / "once")[0]["loss"] == pytest.approx(losses(tmp_path / "twice")[0]["loss"], rel=1e-5)
    assert all(torch.allclose(a, b, atol=1e-4) for a, b in zip(tensors(once), tensors(twice), strict=True))


# What it leaves behind


def test_file_loads_here_and_in_diffusers(tmp_path):
    adapter = train(tmp_path, models.comfy_model("SD1.5"), steps=1, use_flag=True)
    assert sorted(path.name for path in tmp_path.iterdir() if path.suffix) == [
        "adapter.safetensors", "checkpoint.pt", "loss.jsonl",
    ]  # fmt: skip
    loaded = checkpoint.load_adapter(tmp_path / loop.RESULT)
    assert same(loaded, adapter)
    base = "a UNet with 16 cross-attention layers of context width 32"
    assert len(loaded.metadata.sites) == 16 and loaded.metadata.sites[0] == "input.1.0"
    assert loaded.metadata == dataclasses.replace(
        training_models.METADATA, use_flag=True, base_model=base, sites=loaded.metadata.sites
    )
    unet = models.diffusers_unet("SD1.5")
    oracle.install_processors(unet, loaded)
    tokens = loaded.projection(loaded.encode(torch.tensor([[1.0]])))
    call = {"x": models.latent(), "timesteps": torch.tensor([5.0]), "context": torch.zeros(1, 5, models.WIDTH)}
    assert oracle.output(unet, {**call, "y": None, "control": None}, tokens).isfinite().all()


def test_leaves_the_model_as_it_was(tmp_path):
    model = training_models.tiny_model()
    before = {name: value.clone() for name, value in model.model.state_dict().items()}
    guider = cfg_guider(model, models.conditioning(1), [], cfg=1.0)
    plain = denoise_once(guider, models.latent())
    train(tmp_path, model, steps=2, precision="bfloat16", gradient_checkpointing=True)
    assert all(torch.equal(value, before[name]) for name, value in model.model.state_dict().items())
    assert torch.equal(denoise_once(guider, models.latent()), plain)


def test_continues_from_an_adapter(tmp_path):
    model = training_models.tiny_model()
    initial = train(tmp_path / "first", model, projection="mlp", steps=1)
    adapter = train(tmp_path / "second", model, initial=initial, learning_rate=1e-9, late_learning_rate=1e-9)
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(tensors(adapter), tensors(initial), strict=True))


@pytest.mark.parametrize(
    "change, message",
    [
        ({"latent": torch.zeros(16, 8, 8)}, r"the model needs \(4, height, width\)"),
        ({"text": torch.zeros(5, 77)}, r"the model needs \(tokens, 32\)"),
        ({"quality": torch.zeros(3)}, "the metadata names 1 values"),
    ],
)
def test_data_that_does_not_fit_is_refused_before_work_starts(tmp_path, change, message):
    with pytest.raises(ValueError, match=message):
        train(tmp_path, dataset=[training_models.QualitySet()[0] | change])
    assert not (tmp_path / "loss.jsonl").exists()


def test_empty_set_is_refused(tmp_path):
    with pytest.raises(ValueError, match="training set is empty"):
        loop.train(training_models.tiny_model(), training_models.data([]), training_models.fast_settings(), tmp_path)


def test_sdxl_needs_a_pooled_embedding(tmp_path):
    with pytest.raises(ValueError, match="no pooled embedding"):
        train(tmp_path, models.comfy_model("SSD-1B"))
