"""A run knows what it is: it goes on as what it was begun, or says what differs, and loses nothing."""

import dataclasses
import os
import shutil

import pytest
import torch
import training_models
import training_pictures
import training_runs
from PIL import Image

from iqa_adapter.adapter import checkpoint
from iqa_adapter.pictures.reading import find_pictures
from iqa_adapter.quickstart.model import load_quickstart
from iqa_adapter.training import names, observer, pictures_record, record, state


@pytest.fixture(scope="module")
def begun(tmp_path_factory):
    """A run of two steps, its pictures and their table."""
    folder = tmp_path_factory.mktemp("begun")
    scored = training_runs.scored(folder / "photos", folder / "table", "entropy", "piqe")
    training_runs.go(scored, folder / "home", steps=2, late_from=1.0, metrics=["entropy"])
    return scored, folder


@pytest.fixture()
def home(begun, tmp_path):
    """A copy of it, to go on from."""
    shutil.copytree(begun[1] / "home", tmp_path / "home")
    shutil.copytree(begun[1] / "photos", tmp_path / "photos", copy_function=shutil.copy2)
    return tmp_path / "home"


def go_on(begun, home, models=None, scored=None, **changes):
    watch = training_models.Watch()
    settings = {"steps": 4, "late_from": 1.0, "metrics": ["entropy"]} | changes
    training_runs.go(scored or begun[0], home, models, watch, **settings)
    return watch


def refused(begun, home, message, **given):
    """Said in one sentence, before pictures are prepared; nothing that is there changes."""
    before = {path.name: path.read_bytes() for path in (home / "run").iterdir() if path.is_file()}
    watch = training_models.Watch()
    settings = {"steps": 4, "late_from": 1.0, "metrics": ["entropy"]} | given.pop("settings", {})
    with pytest.raises(ValueError, match=message) as raised:
        training_runs.go(given.pop("scored", begun[0]), home, watch=watch, **given, **settings)
    assert "\n" not in str(raised.value) and watch.prepared == 0 and watch.losses == []
    assert {path.name: path.read_bytes() for path in (home / "run").iterdir() if path.is_file()} == before
    assert "choose another name, or begin again with --anew" in str(raised.value)


def test_more_steps_are_allowed_and_what_only_decides_where_and_how_fast(begun, home):
    free = {"batch_size": 1, "gradient_accumulation": 2, "workers": 2, "sample_interval": 4, "sample_cfg": 3.0}
    watch = go_on(begun, home, checkpoint_interval=1, adapter_interval=3, **free)
    assert len(watch.losses) == 2 and watch.notes == [] and watch.sheets == ["000004.png"]


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"metrics": ["piqe"]}, r"on other data \(metrics entropy, now piqe; other scores in the table\)"),
        ({"resolution": 32}, r"with other settings \(resolution 64, now 32\)"),
        ({"seed": 3, "tokens": 4}, r"with other settings \(tokens 2, now 4; seed 0, now 3\)"),
        ({"buckets": True}, r"with other settings \(buckets False, now True\)"),
        ({"batch_size": 3}, r"on other data \(samples_per_step 2, now 3\)"),
        ({"steps": 1}, "already learnt 2 steps, and steps is 1"),
    ],
)
def test_other_settings_are_refused(begun, home, settings, message):
    refused(begun, home, message, settings=settings)


def test_other_pictures_are_refused(begun, home, tmp_path):
    photos, table = tmp_path / "photos", begun[0][1]
    cases = {
        "gone": lambda: (photos / "03.png").unlink(),
        "caption": lambda: (photos / "01.txt").write_text("something else"),
        "other content of the same size": lambda: shutil.copy(photos / "02.png", photos / "00.png"),
    }
    messages = {
        "gone": "pictures gone: 1, the first is 03.png",
        "caption": "pictures with another caption: 1, the first is 01.png",
        "other content of the same size": "pictures changed: 1, the first is 00.png",
    }
    for name, change in cases.items():
        change()
        refused(begun, home, messages[name], scored=(find_pictures(photos), table))
    training_pictures.write(tmp_path / "more", 7)
    more = training_runs.scored(tmp_path / "more", tmp_path / "table", "entropy", "piqe")
    refused(begun, home, "pictures new: 1, the first is 06.png", scored=more)


def test_pictures_that_were_only_copied_are_the_same(begun, home, tmp_path):
    for path in (tmp_path / "photos").iterdir():
        os.utime(path, (1, 1))
    shutil.rmtree(home / "cache")
    watch = go_on(begun, home, scored=(find_pictures(tmp_path / "photos"), begun[0][1]))
    assert len(watch.losses) == 2


def test_another_resize_is_refused(begun, home, tmp_path):
    other = training_runs.scored(begun[1] / "photos", tmp_path / "table", "entropy", "piqe", resize="64")
    refused(begun, home, "resize as is, now 64; other scores in the table", scored=other)


def with_other_weights(part):
    models = load_quickstart()
    net = {"UNet": models[0].model.diffusion_model, "text encoder": models[1].cond_stage_model}[part]
    weight = next(weight for weight in net.parameters() if weight.ndim == 2)
    with torch.no_grad():
        weight.mul_(1.5)
    return models


def with_a_lora():
    model, clip, vae = load_quickstart()
    key = "diffusion_model.time_embed.0.weight"
    model = model.clone()
    model.add_patches({key: ("diff", (torch.ones_like(model.model.state_dict()[key]),))}, 0.01)
    return model, clip, vae


def with_another_layer_of_the_text_encoder():
    model, clip, vae = load_quickstart()
    clip = clip.clone()
    clip.clip_layer(-2)
    return model, clip, vae


@pytest.mark.parametrize(
    "models, message",
    [
        (lambda: with_other_weights("UNet"), r"with another base model \(UNet\)"),
        (lambda: with_other_weights("text encoder"), r"with another base model \(text encoder\)"),
        (with_a_lora, r"with another base model \(UNet\)"),
        (with_another_layer_of_the_text_encoder, r"with another base model \(text encoder\)"),
    ],
    ids=["UNet", "text encoder", "LoRA", "layer"],
)
def test_another_base_model_is_refused(begun, home, models, message):
    refused(begun, home, message, models=models())


def test_a_model_is_the_same_while_it_is_loaded_and_patched(begun, home):
    """Sampling leaves the weights of a LoRA in the model until another use of it."""
    models = with_a_lora()
    first = record.identity.of_model(models[0])
    models[0].patch_model()
    assert record.identity.of_model(models[0]) == first
    models[0].unpatch_model()
    halved = load_quickstart()
    halved[0].model.diffusion_model.half()
    assert record.identity.of_model(halved[0]) == record.identity.of_model(load_quickstart()[0])


def test_another_start_is_refused(begun, home):
    initial = checkpoint.load_adapter(home / "models" / "new.safetensors")
    refused(begun, home, "from another adapter", initial=initial)


def test_a_start_that_does_not_fit_is_refused_before_work(begun, home, tmp_path):
    initial = checkpoint.load_adapter(home / "models" / "new.safetensors")
    wrong = dataclasses.replace(initial, layers=initial.layers[:-1])
    watch = training_models.Watch()
    with pytest.raises(ValueError, match="was made for"):
        training_runs.go(begun[0], tmp_path / "new", watch=watch, initial=wrong, metrics=["entropy"])
    with pytest.raises(ValueError, match="expects 1 quality values"):
        training_runs.go(begun[0], tmp_path / "new", watch=watch, initial=initial)
    assert watch.prepared == 0


def test_a_run_of_the_first_version_goes_on_with_a_notice_and_is_known_from_then_on(begun, home):
    for name in (record.RECORD, pictures_record.PICTURES):
        (home / "run" / name).unlink()
    watch = go_on(begun, home)
    assert len(watch.losses) == 2 and "was begun by version 0.1.0" in watch.notes[0]
    refused(begun, home, "metrics entropy, now piqe", settings={"metrics": ["piqe"]})


def test_another_version_of_the_pack_is_said(begun, home):
    file = home / "run" / record.RECORD
    file.write_text(file.read_text().replace(f'"pack": "{record.pack_version()}"', '"pack": "0.9"'))
    assert "Begun with version 0.9 of this pack" in go_on(begun, home).notes[0]


@pytest.mark.parametrize("name", [record.RECORD, pictures_record.PICTURES])
def test_a_damaged_record_is_said(begun, home, name):
    (home / "run" / name).write_text("{")
    with pytest.raises(ValueError, match=f"{name} is damaged; delete it"):
        go_on(begun, home)


def test_what_was_never_learnt_needs_no_other_name(begun, tmp_path):
    """Stopped before the first checkpoint, with wrong settings."""
    watch = training_models.Watch(should_stop=lambda: True)
    with pytest.raises(observer.TrainingStopped, match="while the pictures were prepared"):
        training_runs.go(begun[0], tmp_path, watch=watch, learning_rate=1.0)
    assert watch.prepared == 0
    assert len(training_runs.go(begun[0], tmp_path, steps=1)[1]) == 1


def test_anew_forgets_a_run_only_when_the_next_one_begins(begun, home):
    before = (home / "run" / state.CHECKPOINT).read_bytes()
    options = {"anew": True, "steps": 1, "metrics": ["piqe"], "late_from": 1.0}
    with pytest.raises(observer.TrainingStopped):
        training_runs.go(begun[0], home, watch=training_models.Watch(should_stop=lambda: True), **options)
    assert (home / "run" / state.CHECKPOINT).read_bytes() == before
    assert len(go_on(begun, home, steps=3).losses) == 1
    assert len(training_runs.go(begun[0], home, **options)[1]) == 1
    assert len(training_runs.go(begun[0], home, **options | {"anew": False, "steps": 2})[1]) == 1


def test_two_runs_cannot_have_one_name_at_once(begun, tmp_path):
    seen = []

    def meanwhile(step, loss):
        with pytest.raises(ValueError, match="Another training of the name new is running"):
            training_runs.go(begun[0], tmp_path)
        elsewhere = tmp_path / "elsewhere"
        elsewhere.mkdir(exist_ok=True)
        (elsewhere / "models").symlink_to(tmp_path / "models")
        with pytest.raises(ValueError, match="Another training of the name new is running"):
            training_runs.go(begun[0], elsewhere)
        seen.append(step)

    training_runs.go(begun[0], tmp_path, watch=training_models.Watch(meanwhile), steps=1)
    assert seen == [1]
    training_runs.go(begun[0], tmp_path, steps=2)


@pytest.mark.parametrize(
    "name, reason",
    [
        ("", "empty"),
        ("  ", "empty"),
        ("cache", "cached latents"),
        ("Cache", "cached latents"),
        ("../evil", "it has one of"),
        ("a/b", "it has one of"),
        ("a\\b", "it has one of"),
        ("a:b", "it has one of"),
        (".", "full stop"),
        ("..", "full stop"),
        (".hidden", "full stop"),
        ("end.", "full stop"),
        (" a", "blank"),
        ("con", "Windows"),
        ("LPT1.v2", "Windows"),
        ("a\nb", "line break"),
        ("a\0b", "control character"),
        (300 * "a", "longer than 200 bytes"),
        (101 * "ä", "longer than 200 bytes"),
        ("\udce9", "no text"),
    ],
)
def test_names_that_cannot_be_are_refused(name, reason):
    with pytest.raises(ValueError, match=f"^name must be a plain file name, .*{reason}") as raised:
        names.check_name(name)
    assert "\n" not in str(raised.value) and len(str(raised.value)) < 200


RUSSIAN = "\u043a\u0430\u0447\u0435\u0441\u0442\u0432\u043e"  # quality


@pytest.mark.parametrize("name", ["my_adapter", "topiq 512 v1.2", RUSSIAN, "cache2", 200 * "a"])
def test_other_names_are_good(name, tmp_path):
    names.check_name(name)
    Image.new("RGB", (8, 8)).save(tmp_path / f"{name}.safetensors", "PNG")
