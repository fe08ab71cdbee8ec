"""Pictures and captions are encoded before the loop, or in it, by the main thread; the data set only reads."""

import io
import os
import pickle
import re
import shutil
import threading
from pathlib import Path

import comfy.model_management
import comfy.model_patcher
import iqa_nets
import pytest
import torch
import training_models
import training_pictures
import training_runs

from iqa_adapter.iqa_models import loading
from iqa_adapter.pictures.reading import find_pictures
from iqa_adapter.quickstart import model as quickstart
from iqa_adapter.training import encoder, encoding, objective, room
from iqa_adapter.training.cache_shards import FOLDER, Shards
from iqa_adapter.training.dataset import TrainingSet
from iqa_adapter.training.encoder import Encoder
from iqa_adapter.training.observer import Observer, TrainingStopped
from iqa_adapter.training.score_set import Scorer, score_dataset
from iqa_adapter.training.settings import DataSettings
from iqa_adapter.training.table import ScoredTable


@pytest.fixture(scope="module")
def scored(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scored")
    return training_runs.scored(folder / "photos", folder / "table")


@pytest.fixture(scope="module")
def models():
    return quickstart.load_quickstart()


def make(scored, models, folder, **settings):
    settings = DataSettings(**{"resolution": 64, "bucket_step": 8} | settings)
    return training_runs.encoding(scored[0][0].file.parent, scored[1], models, settings, folder)


def files(folder):
    return {path for path in Path(folder).rglob("*") if path.is_file()}


def entries(folder):
    """Of the cache: those in shards, and files of their own."""
    return len(Shards(folder)) + len([path for path in files(folder) if path.parent.name != FOLDER])


@pytest.fixture()
def calls(monkeypatch):
    """Threads that encode, and how many pictures at once."""
    seen = []

    def watched(original):
        def call(model, what, *options):
            seen.append((threading.current_thread(), len(what) if isinstance(what, torch.Tensor) else what))
            return original(model, what, *options)

        return call

    for name in ("encode_pictures", "encode_text"):
        monkeypatch.setattr(encoder, name, watched(getattr(encoder, name)))
    return seen


# The data set


@pytest.mark.parametrize("cache", [True, False])
def test_a_data_set_holds_no_models_and_can_be_sent_to_a_process(scored, models, tmp_path, cache):
    made = make(scored, models, tmp_path, cache=cache, buckets=True)
    made.prepare(Observer())

    class Plain(pickle.Pickler):
        def reducer_override(self, value):
            assert not isinstance(value, (torch.nn.Module, comfy.model_patcher.ModelPatcher)), type(value)
            return NotImplemented

    stored = io.BytesIO()
    Plain(stored).dump(made.items)
    again = pickle.loads(stored.getvalue())
    assert isinstance(again, TrainingSet) and len(again) == 6
    for index in range(6):
        left, right = made.finish([again[index]])[0], made.data.item(index)
        assert all(torch.equal(left[name], right[name]) for name in right)


@pytest.mark.parametrize("settings", [{}, {"workers": 3}, {"cache": False}, {"cache": False, "workers": 3}])
def test_wherever_items_are_encoded_the_training_is_the_same(scored, tmp_path, calls, settings):
    _, losses = training_runs.go(scored, tmp_path / "plain", batch_size=3)
    calls.clear()
    _, again = training_runs.go(scored, tmp_path / "other", batch_size=3, **settings)
    assert again == losses
    assert {thread for thread, _ in calls} == {threading.main_thread()}
    if settings.get("cache", True):
        assert files(tmp_path / "other" / "cache")
        assert len([what for _, what in calls if isinstance(what, int)]) == 2  # the first one, for its shape, and five
    else:
        assert not (tmp_path / "other" / "cache").exists()
        assert [what for _, what in calls if isinstance(what, int)][-4:] == [3, 3, 3, 3]  # of the steps


@pytest.mark.parametrize("cache", [True, False])
def test_a_run_that_reads_ahead_goes_on_as_if_it_had_not_stopped(scored, tmp_path, cache):
    options = {"cache": cache, "workers": 2}
    _, losses = training_runs.go(scored, tmp_path / "whole", **options)
    watch = training_models.Watch()
    watch.should_stop = lambda: len(watch.losses) == 2
    with pytest.raises(TrainingStopped, match="Stopped at step 2 of 4"):
        training_runs.go(scored, tmp_path / "parts", watch=watch, **options)
    _, rest = training_runs.go(scored, tmp_path / "parts", **options)
    assert rest == losses[2:]


def test_an_entry_that_is_damaged_while_the_run_goes_on_is_made_again(scored, tmp_path, caplog):
    _, losses = training_runs.go(scored, tmp_path / "plain")

    class Spoil(training_models.Watch):
        def step(self, step, loss):
            super().step(step, loss)
            if step == 1:
                for file in files(tmp_path / "spoilt" / "cache"):
                    file.write_bytes(file.read_bytes()[:-8])
            if step == 3:
                shutil.rmtree(tmp_path / "spoilt" / "cache")

    _, again = training_runs.go(scored, tmp_path / "spoilt", watch=Spoil())
    assert again == losses and "is damaged and made again" in caplog.text


# The stage


def test_pictures_are_encoded_several_at_once_and_none_twice(scored, models, tmp_path, calls):
    watch = training_models.Watch()
    made = make(scored, models, tmp_path)
    made.prepare(watch)
    assert watch.prepared == 12
    assert [what for _, what in calls if isinstance(what, int)] == [6]
    assert sorted(what for _, what in calls if isinstance(what, str)) == ["", *made.items.captions]
    calls.clear()
    make(scored, models, tmp_path).prepare(watch)
    assert calls == [] and watch.prepared == 24


def test_pictures_of_one_size_are_encoded_together(scored, models, tmp_path, calls):
    make(scored, models, tmp_path, buckets=True).prepare(Observer())
    assert [what for _, what in calls if isinstance(what, int)] == [3, 3]


@pytest.mark.parametrize("after", [0, 3, 6, 7, 10])
def test_a_stage_that_is_cancelled_keeps_what_it_has(scored, models, tmp_path, monkeypatch, after):
    monkeypatch.setattr(encoding, "AT_ONCE", 2)
    watch = training_models.Watch()
    watch.should_stop = lambda: watch.prepared >= after
    with pytest.raises(TrainingStopped, match="those that are done are kept"):
        make(scored, models, tmp_path).prepare(watch)
    assert after <= watch.prepared <= after + 1 < 13
    assert entries(tmp_path) == watch.prepared + 1  # and the empty caption
    whole = training_models.Watch()
    make(scored, models, tmp_path).prepare(whole)
    assert whole.prepared == 12 and entries(tmp_path) == 13


def test_leftovers_are_removed_though_nothing_is_written(scored, models, tmp_path):
    make(scored, models, tmp_path).prepare(Observer())
    left = next(iter(files(tmp_path))).with_name(".entry.abcdefgh.part")
    left.write_bytes(b"half")
    os.utime(left, (0, 0))
    make(scored, models, tmp_path).prepare(Observer())
    assert not left.exists()


# Room on the disk


HEADER = 600  # bytes of a shard's header at most


def on_disk(folder):
    return sum(path.stat().st_size for path in files(folder))


@pytest.mark.parametrize("buckets", [False, True])
def test_the_size_of_the_cache_is_counted_before(tmp_path, models, buckets):
    photos = training_pictures.write(tmp_path / "photos", 6)
    (photos / "01.txt").write_text("a word " * 40)  # several chunks of tokens
    (photos / "02.txt").write_text((photos / "03.txt").read_text())
    scored = training_runs.scored(photos, tmp_path / "table")
    made = make(scored, models, tmp_path / "cache", buckets=buckets)
    (text,) = made.room()
    count = re.search(r"embeddings of (\d+) pictures and (\d+) captions take ([\d,]+) bytes", text).groups()
    before = on_disk(tmp_path / "cache")
    made.prepare(Observer())
    pictures, captions, size = (int(number.replace(",", "")) for number in count)
    assert (pictures, captions) == (5, 5)  # the first picture tells the size
    grown, shards = on_disk(tmp_path / "cache") - before, len(files(tmp_path / "cache" / FOLDER))
    assert 0 < grown - size < HEADER * shards and shards == 3 + buckets  # two lengths of texts, one or two sizes
    assert made.room() == [] and make(scored, models, tmp_path / "no", cache=False).room() == []


def test_room_is_said_once_and_a_full_disk_refused_before_anything_is_made(scored, tmp_path, monkeypatch):
    disk = shutil.disk_usage(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(room.shutil, "disk_usage", lambda place: disk._replace(free=10_000))
        with pytest.raises(OSError) as raised:
            training_runs.go(scored, tmp_path)
    said = str(raised.value)
    assert re.fullmatch(r"Latents and .* take [\d,]+ bytes .* where 0\.0 MB are free; make room, .* every step\.", said)
    assert [path.name for path in files(tmp_path / "run")] in ([], ["run.lock"])
    watch = training_models.Watch()
    training_runs.go(scored, tmp_path, watch=watch)
    assert [note for note in watch.notes if "Latents and embeddings of 5 pictures and 5 captions take " in note]
    again = training_models.Watch()
    training_runs.go(scored, tmp_path, watch=again, anew=True)
    assert not [note for note in again.notes if "Latents" in note]


# The UNet stays where it is trained


def test_a_model_that_was_pushed_away_comes_back(models):
    target = objective.Objective(models[0], "float32")
    loaded = target.patcher.loaded_size()
    target.stay()
    comfy.model_management.unload_all_models()
    assert target.patcher.loaded_size() != loaded
    target.stay()
    assert target.patcher.loaded_size() == loaded
    assert not any(parameter.requires_grad for parameter in target.model.parameters())


def test_large_photos_are_decoded_within_the_memory(scored, models, tmp_path, monkeypatch):
    """The stage, too, reserves what decoding takes."""
    asked = []
    original = TrainingSet.source

    def source(items, index, reserve=lambda size: None):
        return original(items, index, lambda size: asked.append(size) or reserve(size))

    monkeypatch.setattr(TrainingSet, "source", source)
    make(scored, models, tmp_path).prepare(Observer())
    assert len(asked) == 12 and max(asked) == 80 * 64 * 14 and min(asked) == 64 * 64 * 12


def test_a_variant_without_activations_is_named(models, tmp_path, monkeypatch):
    photos = training_pictures.write(tmp_path / "photos", 3)
    iqa_nets.write_cnniqa(tmp_path)
    iqa_model = loading.load_iqa_model("cnniqa")
    score_dataset(find_pictures(photos), Scorer([iqa_model], "as is", features=True, layer="fc1"), tmp_path / "t")
    settings = DataSettings(resolution=64, bucket_step=8, distortion_rate=1.0, variants=2)
    made = training_runs.encoding(photos, ScoredTable.read(tmp_path / "t"), models, settings, tmp_path / "c", iqa_model)
    original = Encoder._features

    def without(self, pictures, names):
        values = original(self, pictures, names).clone()
        values[[name == "01.png" for name in names]] = float("nan")
        return values

    monkeypatch.setattr(Encoder, "_features", without)
    with pytest.raises(ValueError, match=r"cnniqa has no finite activations for 01\.png, distorted or cropped; use an"):
        made.prepare(Observer())
