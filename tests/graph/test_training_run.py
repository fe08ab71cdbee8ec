"""A run from scored pictures to the file: samples on the way, stopping, and what they leave of the loss."""

import dataclasses

import numpy as np
import pytest
import torch
import training_models
import training_pictures
import training_runs
from PIL import Image

from iqa_adapter.adapter import checkpoint
from iqa_adapter.iqa_models import loading
from iqa_adapter.pictures import cropping, reading
from iqa_adapter.quickstart import model as quickstart
from iqa_adapter.training import observer, sampling, score_set
from iqa_adapter.training.settings import RunSettings
from iqa_adapter.training.table import ScoredTable


@pytest.fixture(scope="module")
def scored(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scored")
    return training_runs.scored(folder / "photos", folder / "table")


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_samples_change_nothing_in_the_training(scored, tmp_path, precision):
    models = quickstart.load_quickstart()
    plain, losses = training_runs.go(scored, tmp_path / "plain", models, precision=precision)
    shown, again = training_runs.go(scored, tmp_path / "shown", models, precision=precision, sample_interval=2)
    assert losses == again and len(losses) == 4
    assert all(torch.equal(a.key, b.key) for a, b in zip(plain.layers, shown.layers, strict=True))
    sheets = sorted((tmp_path / "shown" / "run" / "samples").iterdir())
    assert [path.name for path in sheets] == ["000002.png", "000004.png"]
    assert Image.open(sheets[0]).width == 2 * (2 * 64 + 8) + 8  # two targets, enlarged, with margins
    assert sheets[0].read_bytes() != sheets[1].read_bytes()
    assert not any(parameter.requires_grad for parameter in models[0].model.parameters())


def test_samples_of_a_reference_adapter_stand_below_the_pictures_they_are_to_be_like(tmp_path):
    found = reading.find_pictures(training_pictures.write(tmp_path / "photos", 4))
    scorer = score_set.Scorer([loading.load_iqa_model("quickstart_iqa")], "64", features=True)
    table = ScoredTable.read(score_set.score_dataset(found, scorer, tmp_path / "table"))
    training_runs.go((found, table), tmp_path, sample_interval=3, sample_prompts=["a red circle"])
    sheets = sorted((tmp_path / "run" / "samples").iterdir())
    assert [path.name for path in sheets] == ["000003.png", "000004.png"]  # the last one shows the result
    assert [sampling.newest_sheet(tmp_path / "run", step) for step in (4, 3, 2)] == [sheets[1], sheets[0], None]
    learnt = cropping.centre_crop(cropping.scale_to_cover(found[3].read(), (64, 64)), (64, 64))[0]
    pixels = np.asarray(Image.open(sheets[1]), np.float32) / 255
    second = pixels[8 : 8 + 128 : 2, 144 : 144 + 128 : 2]  # of two columns, for the first and the last picture
    assert np.abs(second - learnt.numpy()).max() < 0.01


def test_result_lies_where_the_loader_looks(scored, tmp_path):
    adapter, _ = training_runs.go(scored, tmp_path)
    loaded = checkpoint.load_adapter(tmp_path / "models" / "new.safetensors")
    assert loaded.name == adapter.name == "new.safetensors"
    assert loaded.metadata == dataclasses.replace(adapter.metadata)
    assert loaded.metadata.metric_names == ("entropy",) and loaded.metadata.origin == "6 pictures, resize as is"
    assert [path.name for path in (tmp_path / "models").glob("[!.]*")] == ["new.safetensors"]


def test_stopped_run_goes_on(scored, tmp_path):
    whole, losses = training_runs.go(scored, tmp_path / "whole")
    watch = training_models.Watch()
    watch.should_stop = lambda: len(watch.losses) == 2
    with pytest.raises(observer.TrainingStopped, match="Stopped at step 2 of 4"):
        training_runs.go(scored, tmp_path / "parts", watch=watch)
    checkpoint.load_adapter(tmp_path / "parts" / "models" / "new.safetensors")  # what it had learnt so far
    parts, rest = training_runs.go(scored, tmp_path / "parts")
    assert rest == losses[2:]
    assert all(torch.equal(a.value, b.value) for a, b in zip(whole.layers, parts.layers, strict=True))


def test_settings_of_all_kinds_in_one_mapping():
    settings = RunSettings.from_mapping({"steps": 7, "buckets": True, "sample_cfg": 3}, "run.yaml")
    assert (settings.training.steps, settings.data.buckets, settings.samples.sample_cfg) == (7, True, 3.0)
    with pytest.raises(ValueError, match="run.yaml: unknown setting bucket; known are steps, .*sample_cfg"):
        RunSettings.from_mapping({"bucket": True}, "run.yaml")
