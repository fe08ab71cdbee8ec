"""A run from scored pictures to the file: samples on the way, stopping, and what they leave of the loss."""

import dataclasses

import pytest
import torch
import training_models
import training_pictures
import yaml
from PIL import Image

from iqa_adapter.adapter import checkpoint
from iqa_adapter.iqa_models import loading
from iqa_adapter.pictures import reading as pictures
from iqa_adapter.quickstart import model as quickstart
from iqa_adapter.training import dataset, observer, run, table
from iqa_adapter.training import score_set as scoring
from iqa_adapter.training.settings import RunSettings

SETTINGS = """
steps: 4
batch_size: 2
learning_rate: 0.01
precision: float32
resolution: 64
bucket_step: 8
sample_steps: 2
sample_targets: [1, 99]
sample_prompts: [a red circle, a blue square, noise]
"""


@pytest.fixture(scope="module")
def scored(tmp_path_factory):
    photos = training_pictures.write(tmp_path_factory.mktemp("photos"), 6)
    found, folder = pictures.find_pictures(photos), tmp_path_factory.mktemp("table")
    scoring.score_dataset(found, [loading.load_iqa_model("entropy")], folder, protocol="as is")
    return found, table.ScoredTable.read(folder)


def go(scored, folder, models=None, watch=None, anew=False, initial=None, **overrides):
    """Train, or go on; the adapter and the losses."""
    settings = RunSettings.from_mapping(yaml.safe_load(SETTINGS) | overrides, "the test")
    chosen = run.Run(folder / "run", folder / "models" / "new.safetensors", settings, anew, initial)
    watch = watch or training_models.Watch()
    models = dataset.Models(*(models or quickstart.load_quickstart()))
    return run.train_on_pictures(models, *scored, chosen, watch), watch.losses


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_samples_change_nothing_in_the_training(scored, tmp_path, precision):
    models = quickstart.load_quickstart()
    plain, losses = go(scored, tmp_path / "plain", models, precision=precision)
    shown, again = go(scored, tmp_path / "shown", models, precision=precision, sample_interval=2)
    assert losses == again and len(losses) == 4
    assert all(torch.equal(a.key, b.key) for a, b in zip(plain.layers, shown.layers, strict=True))
    sheets = sorted((tmp_path / "shown" / "run" / "samples").iterdir())
    assert [path.name for path in sheets] == ["000002.png", "000004.png"]
    assert Image.open(sheets[0]).size == (2 * 64, 3 * 64)
    assert sheets[0].read_bytes() != sheets[1].read_bytes()
    assert not any(parameter.requires_grad for parameter in models[0].model.parameters())


def test_result_lies_where_the_loader_looks(scored, tmp_path):
    adapter, _ = go(scored, tmp_path)
    loaded = checkpoint.load_adapter(tmp_path / "models" / "new.safetensors")
    assert loaded.name == adapter.name == "new.safetensors"
    assert loaded.metadata == dataclasses.replace(adapter.metadata)
    assert loaded.metadata.metric_names == ("entropy",) and loaded.metadata.origin == "6 pictures, protocol as is"
    assert [path.name for path in (tmp_path / "models").glob("[!.]*")] == ["new.safetensors"]


def test_stopped_run_goes_on(scored, tmp_path):
    whole, losses = go(scored, tmp_path / "whole")
    watch = training_models.Watch()
    watch.should_stop = lambda: len(watch.losses) == 2
    with pytest.raises(observer.TrainingStopped, match="Stopped at step 2 of 4"):
        go(scored, tmp_path / "parts", watch=watch)
    checkpoint.load_adapter(tmp_path / "parts" / "models" / "new.safetensors")  # what it had learnt so far
    parts, rest = go(scored, tmp_path / "parts")
    assert rest == losses[2:]
    assert all(torch.equal(a.value, b.value) for a, b in zip(whole.layers, parts.layers, strict=True))


def test_settings_of_all_kinds_in_one_mapping():
    settings = RunSettings.from_mapping({"steps": 7, "buckets": True, "sample_cfg": 3}, "run.yaml")
    assert (settings.training.steps, settings.data.buckets, settings.samples.sample_cfg) == (7, True, 3.0)
    with pytest.raises(ValueError, match="run.yaml: unknown setting bucket; known are steps, .*sample_cfg"):
        RunSettings.from_mapping({"bucket": True}, "run.yaml")
