"""Files that are plausible but damaged: tables, features, MATLAB files, checkpoints, logs, settings, caches, names."""

import json
import logging
import os
import random
import zlib

import folder_paths
import hostile_files
import iqa_weights
import numpy as np
import pyarrow
import pyarrow.parquet as parquet
import pytest
import scipy.io
import torch

from iqa_adapter.adapter import checkpoint
from iqa_adapter.files import WrongFile, write_json, write_tensors
from iqa_adapter.iqa_models import features, matlab, weights
from iqa_adapter.nodes import loaders, schema
from iqa_adapter.quickstart.model import make_unet
from iqa_adapter.training import checked_settings, state, table, tracking
from iqa_adapter.training.settings import RunSettings, TrainingSettings
from iqa_adapter.training.trainable import TrainableAdapter

# Names

LATIN = os.fsdecode(b"lat\xe9.safetensors")


@pytest.mark.skipif(os.name == "nt", reason="names are Unicode there")
@pytest.mark.parametrize("content", ["good", "torch", "empty"])
def test_hostile_names_are_escaped_by_every_reader(content, tmp_path):
    data = {"good": hostile_files.adapter(), "torch": hostile_files.saved([1]), "empty": b""}[content]
    (tmp_path / LATIN).write_bytes(data)
    for read in (checkpoint.load_adapter, features.load_features, weights.read):
        with pytest.raises(ValueError, match=r"lat\\xe9\.safetensors") as refusal:
            read(tmp_path / LATIN)
        assert str(refusal.value).isprintable()
    with pytest.raises(FileNotFoundError, match=r"no\\xe9"):
        checkpoint.load_adapter(tmp_path / os.fsdecode(b"no\xe9"))


def test_hostile_names_are_left_out_of_lists(monkeypatch, caplog):
    schema._say_once.cache_clear()
    monkeypatch.setattr(folder_paths, "get_filename_list", lambda _: ["a.safetensors", LATIN])
    with caplog.at_level(logging.WARNING):
        options = loaders.IQAAdapterLoader.define_schema().inputs[0].options
    assert options == ["a.safetensors"]
    assert r"lat\xe9.safetensors in models/iqa_adapter/ is left out" in caplog.text
    for name in (LATIN, "other\u202e\n"):
        answer = loaders.IQAAdapterLoader.validate_inputs(name)
        assert answer.isprintable() and answer.encode() and "found there: a.safetensors." in answer
    assert loaders.IQAAdapterLoader.validate_inputs("a.safetensors") is True


# Tables


@pytest.fixture()
def scored(tmp_path):
    """A finished table of three pictures."""
    contents = table.Contents("score", ("piqe", "entropy"), "512")
    contents.write(tmp_path)
    rows = table.Rows(["a", "b", "c"], torch.tensor([[8, 9]] * 3), torch.rand(3, 2))
    rows.write(tmp_path, 0, contents)
    table.measure(tmp_path)
    assert table.ScoredTable.read(tmp_path).rows.keys == ["a", "b", "c"]
    return tmp_path


def columns(**changes):
    given = {"key": ["a"], "width": [8], "height": [8], "piqe": [1.0], "entropy": [1.0]}
    return pyarrow.table({name: value for name, value in (given | changes).items() if value is not None})


@pytest.mark.parametrize(
    "change",
    [
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(b"PAR1 and more PAR1"),
        lambda path: path.write_bytes(path.read_bytes()[:-100]),
        lambda path: path.write_bytes(path.read_bytes()[:300] + path.read_bytes()[310:]),
        lambda path: path.write_bytes(b"<html>"),
        lambda path: parquet.write_table(columns(piqe=None), path),
        lambda path: parquet.write_table(columns(piqe=["high"]), path),
        lambda path: parquet.write_table(columns(piqe=[None]), path),
        lambda path: parquet.write_table(columns(key=[1]), path),
        lambda path: parquet.write_table(columns(width=[8.5]), path),
        lambda path: parquet.write_table(columns(width=pyarrow.array([None], pyarrow.int64())), path),
        lambda path: parquet.write_table(pyarrow.table({"key": pyarrow.nulls(10**8, pyarrow.string())}), path),
    ],
    ids=["empty", "marks", "cut", "holed", "html", "missing", "words", "nulls", "keys", "halves", "no_width", "bomb"],
)
def test_hostile_shards(scored, change):
    change(scored / "000000.parquet")
    for read in (table.ScoredTable.read, table.keys):
        if read is table.keys and (scored / "000000.parquet").stat().st_size > 1000:
            continue  # the column of keys is whole
        with pytest.raises(ValueError, match=r"000000\.parquet"):
            read(scored)
            table.ScoredTable.read(scored)


@pytest.mark.parametrize(
    "text",
    ["", "[", "null", "[" * 100_000, '{"metrics": 1}', '{"metrics": ["piqe"]}', '{"metrics": [{"name": 1}]}', "{}",
     '{"count": 1, "mean": [1], "std": [1]}', "\xff"],
)  # fmt: skip
def test_hostile_statistics(scored, text):
    (scored / "statistics.json").write_bytes(text.encode("latin1"))
    with pytest.raises(ValueError, match=r"statistics\.json"):
        table.ScoredTable.read(scored)


@pytest.mark.parametrize(
    "changes",
    [{"kind": "other"}, {"models": "piqe"}, {"models": [1]}, {"models": []}, {"protocol": 512}, {"layer": []}],
)
def test_hostile_contents(scored, changes):
    fields = json.loads((scored / "table.json").read_text())
    write_json(scored / "table.json", fields | changes)
    with pytest.raises(ValueError, match=r"holds no table of scores .*table\.json"):
        table.ScoredTable.read(scored)
    write_json(scored / "table.json", fields | {"of_a_later_version": [1]})
    table.ScoredTable.read(scored)


@pytest.mark.parametrize("content", ["cut", "other", "fewer", "none"])
def test_hostile_activations_of_a_table(tmp_path, content):
    contents = table.Contents("reference", ("cnniqa",), "512", "layer", "mean")
    contents.write(tmp_path)
    rows = table.Rows(["a", "b"], torch.tensor([[8, 9]] * 2), torch.rand(2, 4))
    rows.write(tmp_path, 0, contents)
    table.measure(tmp_path)
    assert table.ScoredTable.read(tmp_path).rows.values.shape == (2, 4)
    path = tmp_path / "000000.safetensors"
    if content == "cut":
        path.write_bytes(path.read_bytes()[:-1])
    elif content == "none":
        path.unlink()
    else:
        write_tensors(path, {"features" if content == "fewer" else "other": torch.rand(1, 4)})
    with pytest.raises((ValueError, OSError), match=r"000000\."):
        table.ScoredTable.read(tmp_path)


# Features

SOURCE = {"model": "cnniqa", "layer": "a", "pooling": "mean"}


@pytest.mark.parametrize(
    ("tensors", "header"),
    [
        ({"features": torch.rand(2, 3)}, None),
        ({"features": torch.rand(2, 3)}, "["),
        ({"features": torch.rand(2, 3)}, "[" * 100_000),
        ({"features": torch.rand(2, 3)}, json.dumps([SOURCE])),
        ({"features": torch.rand(2, 3)}, json.dumps(SOURCE | {"layer": 1})),
        ({"features": torch.rand(2, 3)}, json.dumps({"model": "cnniqa"})),
        ({"other": torch.rand(2, 3)}, json.dumps(SOURCE)),
        ({"features": torch.tensor(1.0)}, json.dumps(SOURCE)),
        ({"features": torch.rand(0, 3)}, json.dumps(SOURCE)),
        ({"features": torch.full((2, 3), float("nan"))}, json.dumps(SOURCE)),
        ({"features": torch.ones(2, 3, dtype=torch.int64)}, json.dumps(SOURCE)),
    ],
)
def test_hostile_features(tensors, header, tmp_path):
    path = tmp_path / "some.safetensors"
    write_tensors(path, tensors, {} if header is None else {features.HEADER_KEY: header})
    with pytest.raises(ValueError, match=r"some\.safetensors"):
        features.load_features(path)


# MATLAB


@pytest.fixture(scope="module")
def mats(tmp_path_factory):
    """A good file of each IQA model that comes as one, by name."""
    folder, rng = tmp_path_factory.mktemp("mats"), np.random.default_rng(0)
    writers = {"brisque": iqa_weights._brisque, "niqe": iqa_weights._niqe, "nrqm": iqa_weights._nrqm}
    for name, write in writers.items():
        write(name, folder / f"{name}.mat", rng)
    content = {name: value for name, value in scipy.io.loadmat(folder / "niqe.mat").items() if name[0] != "_"}
    scipy.io.savemat(folder / "packed.mat", content, do_compression=True)
    return {path.stem: path.read_bytes() for path in folder.iterdir()}


def equal(mine, theirs):
    if mine.dtype.names or mine.dtype == object:
        parts = [(a, b) if mine.dtype.names is None else zip(a, b, strict=True)
                 for a, b in zip(mine.flat, theirs.flat, strict=True)]  # fmt: skip
        pairs = parts if mine.dtype.names is None else [pair for part in parts for pair in part]
        return mine.shape == theirs.shape and all(equal(a, b) for a, b in pairs)
    return mine.dtype == theirs.dtype and np.array_equal(mine, theirs)


@pytest.mark.parametrize("name", ["brisque", "niqe", "nrqm", "packed"])
def test_matlab_files_are_read_as_scipy_reads_them(name, mats, tmp_path):
    (tmp_path / "a.mat").write_bytes(mats[name])
    mine, theirs = matlab.read_matlab(tmp_path / "a.mat"), scipy.io.loadmat(tmp_path / "a.mat")
    assert mine.keys() == {key for key in theirs if key[0] != "_"}
    assert all(equal(value, theirs[key]) for key, value in mine.items())


def test_hostile_matlab_files(mats, tmp_path):
    """SciPy ends the process on some of these."""
    rng, path, outcomes = random.Random(0), tmp_path / "hostile.mat", [0, 0]
    bomb = zlib.compress(bytes(100_000_000))
    cases = [b"", b"junk", b"<html>", bytes(200), mats["niqe"][:500], mats["niqe"][:-8],
             mats["niqe"][:128] + b"\x0f\0\0\0" + len(bomb).to_bytes(4, "little") + bomb]  # fmt: skip
    for _ in range(500):
        data = bytearray(rng.choice(list(mats.values())))
        for _ in range(rng.choice((1, 2, 5))):
            data[rng.randrange(120, min(len(data), 1200))] = rng.choice((0, 1, 255, rng.randrange(256)))
        cases.append(bytes(data))
    for number, data in enumerate(cases):
        path.write_bytes(data)
        try:
            matlab.read_matlab(path)
            outcomes[0] += number >= 7
            assert number >= 7
        except WrongFile as error:
            outcomes[1] += 1
            assert "hostile.mat" in str(error) and str(error).isprintable()
    assert min(outcomes) > 100


# Training runs


@pytest.fixture()
def run():
    settings = TrainingSettings()
    return state.TrainingState(TrainableAdapter.from_unet(make_unet().diffusion_model, 1, settings), settings, 4)


def first(entries):
    return next(iter(entries.values()))


@pytest.mark.parametrize(
    "change",
    [
        *(lambda s, key=key: s.pop(key) for key in ("step", "settings", "samples_per_step", "optimizer", "adapter")),
        lambda s: s.update(step="1"),
        lambda s: s.update(step=-1),
        lambda s: s.update(settings=[1]),
        lambda s: s["settings"].pop("learning_rate") and s.update(adapter=[torch.ones(1)]),
        lambda s: s["adapter"].update({next(iter(s["adapter"])): "weight"}),
        lambda s: s["optimizer"].pop("state"),
        lambda s: s["optimizer"].pop("param_groups"),
        lambda s: s["optimizer"].update(param_groups=[]),
        lambda s: s["optimizer"]["param_groups"][0].update(params=["a"]),
        lambda s: first(s["optimizer"]["state"]).update(exp_avg=torch.ones(1, 2, 3)),
        lambda s: s["optimizer"].update(state=[1]),
    ],
)
def test_hostile_checkpoints(run, change, tmp_path):
    for weight in run.adapter.parameters():
        weight.grad = torch.ones_like(weight)
    run.update()
    run.save(tmp_path)
    run.resume(tmp_path)
    content = torch.load(tmp_path / state.CHECKPOINT, weights_only=True)
    change(content)
    torch.save(content, tmp_path / state.CHECKPOINT)
    with pytest.raises(ValueError, match=r"checkpoint\.pt of .* cannot be read: damaged"):
        run.resume(tmp_path)


def test_a_log_whose_last_line_is_cut(tmp_path):
    (tmp_path / "loss.jsonl").write_text('{"step": 1, "loss": 0.5}\n{"step": 2, "loss": NaN}\n{"step": 3, "lo')
    steps, losses = tracking.read_losses(tmp_path)
    assert steps == [1, 2] and losses[0] == 0.5 and np.isnan(losses[1])
    log = tracking.LossLog(tmp_path, 5)
    log.write(step=3, loss=0.25)
    log.close()
    assert tracking.read_losses(tmp_path)[0] == [1, 2, 3]
    (tmp_path / "loss.jsonl").write_text('{"step": 1}\n')
    with pytest.raises(ValueError, match=r"loss\.jsonl cannot be understood"):
        tracking.read_losses(tmp_path)


def read_settings(content: bytes) -> RunSettings:
    return RunSettings.from_mapping(checked_settings.parse_mapping(content, "mine.yaml"), "mine.yaml")


@pytest.mark.parametrize(
    "content",
    [b"\xff\xfe\xfa", b"- 1", b"text", b"a: [", b"a: 2026-13-45", b"[" * 10_000, b"? [a, b]\n: 1", b"a: \x00",
     b"a: b: c", b"&a [*a]"],
)  # fmt: skip
def test_hostile_settings(content):
    with pytest.raises(ValueError, match=r"^mine\.yaml"):
        read_settings(content)


def test_hostile_settings_of_a_wrong_type():
    bomb = (
        b"steps: ["
        + b"&a0 [x, x], "
        + b"".join(b"&a%d [*a%d, *a%d], " % (i, i - 1, i - 1) for i in range(1, 40))
        + b"]"
    )
    for content in (b"steps: many", b"steps: {a: 1}", b"learning_rate: [1]", bomb):
        with pytest.raises(ValueError, match=r"(steps|learning_rate) must be a"):
            read_settings(content)
