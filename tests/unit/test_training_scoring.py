"""Scoring a set: the table holds what score_images says, whatever interrupted it."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import iqa_nets
import numpy as np
import pyarrow.parquet as parquet
import pytest
import torch
import training_pictures

from iqa_adapter.iqa_models import features as activations
from iqa_adapter.iqa_models import loading, scoring
from iqa_adapter.pictures import reading as pictures
from iqa_adapter.training import score_set as dataset_scoring
from iqa_adapter.training import table

METRICS = ("piqe", "entropy")


@pytest.fixture(scope="module")
def models():
    return [loading.load_iqa_model(name) for name in METRICS]


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Twelve pictures of two sizes, one of them damaged."""
    folder = training_pictures.write(tmp_path_factory.mktemp("photos"), 12)
    (folder / "05.png").write_bytes(b"damaged")
    return folder


def score(photos, folder, models, **options):
    how = {name: options.pop(name) for name in ("features", "layer") if name in options}
    scorer = dataset_scoring.Scorer(models, "as is", **how)
    dataset_scoring.score_dataset(pictures.find_pictures(photos), scorer, folder, **options)
    return table.ScoredTable.read(folder)


def by_key(scored):
    return dict(zip(scored.rows.keys, scored.rows.values.tolist(), strict=True))


def test_table_holds_what_score_images_says(photos, models, tmp_path):
    scored = score(photos, tmp_path / "t", models, shard_size=5)
    assert len(table.shards(tmp_path / "t")) == 3 and len(scored.rows.keys) == 11
    for picture in pictures.find_pictures(photos):
        if picture.key != "05.png":
            expected = scoring.score_images(models, picture.read()[None]).values[0]
            assert by_key(scored)[picture.key] == pytest.approx(expected.tolist(), rel=1e-5)
    assert "05.png" not in by_key(scored)
    assert (tmp_path / "t" / "unreadable.txt").read_text().startswith("05.png: cannot identify")
    assert scored.rows.sizes[0].tolist() == [80, 64] and scored.rows.sizes[1].tolist() == [64, 80]
    columns = parquet.read_table(tmp_path / "t" / "000000.parquet").column_names
    assert columns == ["key", "width", "height", *METRICS, "bytes", "offset", "time", "digest"]

    values = np.array(scored.rows.values)
    for column, known in enumerate(scored.metrics()):
        assert known.name == METRICS[column]
        assert (known.mean, known.std) == pytest.approx((values[:, column].mean(), values[:, column].std()), rel=1e-5)
        assert known.percentiles[50.0] == pytest.approx(np.median(values[:, column]), rel=1e-5)
    assert not scored.metrics(("piqe",))[0].higher_is_better


def test_protocol_of_the_adapters(photos, models, tmp_path):
    found = pictures.find_pictures(photos)[:2]
    dataset_scoring.score_dataset(found, dataset_scoring.Scorer(models[1:]), tmp_path / "t")
    for picture, value in zip(found, table.ScoredTable.read(tmp_path / "t").rows.values, strict=True):
        assert torch.allclose(value, scoring.score_images(models[1:], picture.read()[None], "512").values[0])


def test_activations(photos, tmp_path):
    iqa_nets.write_cnniqa(tmp_path)
    model = loading.load_iqa_model("cnniqa")
    scored = score(photos, tmp_path / "t", [model], features=True, layer="fc1", shard_size=4)
    assert scored.contents == table.Contents("reference", ("cnniqa",), "as is", "fc1", scored.contents.pooling)
    values = scored.rows.values
    assert values.dtype == torch.float16 and len(values) == 11
    first = pictures.find_pictures(photos)[0]
    expected = activations.extract_features(model, first.read()[None], "fc1").tensor[0]
    assert torch.allclose(values[0].float(), expected, atol=1e-3)
    mean, std = (torch.tensor(scored.statistics[name]) for name in ("mean", "std"))
    assert torch.allclose(mean, values.float().mean(0), atol=1e-5)
    moving = values.float().std(0, correction=0) > 0
    assert torch.allclose(std[moving], values.float().std(0, correction=0)[moving], atol=1e-5)
    assert (std[~moving] == 1).all()


class Cancel:
    """A progress bar that cancels after some updates."""

    def __init__(self, after):
        self.left = after

    def update(self, count):
        self.left -= count
        if self.left <= 0:
            raise KeyboardInterrupt


def test_cancelled_scoring_keeps_what_it_has_and_goes_on(photos, models, tmp_path, monkeypatch):
    whole = by_key(score(photos, tmp_path / "whole", models))
    monkeypatch.setattr(dataset_scoring, "GROUP", 2)
    with pytest.raises(KeyboardInterrupt):
        score(photos, tmp_path / "parts", models, progress=lambda total: Cancel(11))
    kept = table.keys(tmp_path / "parts")
    assert 0 < len(kept) < 11
    with pytest.raises(ValueError, match="has not finished; start it again"):
        table.ScoredTable.read(tmp_path / "parts")
    totals = []
    parts = score(photos, tmp_path / "parts", models, progress=lambda total: totals.append(total) or Cancel(1e9))
    assert totals == [2 * (12 - len(kept))]
    assert sorted(parts.rows.keys) == sorted(whole) and by_key(parts) == whole


def test_pictures_that_came_later_are_added(photos, models, tmp_path):
    found = pictures.find_pictures(photos)
    dataset_scoring.score_dataset(found[:4], dataset_scoring.Scorer(models, "as is"), tmp_path)
    dataset_scoring.score_dataset(found, dataset_scoring.Scorer(models, "as is"), tmp_path)
    assert table.ScoredTable.read(tmp_path).rows.keys == [p.key for p in found if p.key != "05.png"]


def command(*arguments):
    return [sys.executable, *arguments]


def environment():
    return {**os.environ, "OMP_NUM_THREADS": "1"}


def test_killed_scoring_loses_and_repeats_no_row(photos, models, tmp_path):
    """Killed as by the power, in the middle of a shard, then finished by two processes."""
    script = str(Path(training_pictures.__file__))
    folder = tmp_path / "table"
    process = subprocess.Popen(command(script, str(photos), str(folder), "stopping"), env=environment())
    deadline = time.monotonic() + 120
    while len(table.shards(folder)) < 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert len(table.shards(folder)) == 2
    torchrun = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2")
    done = subprocess.run(
        command(*torchrun, script, str(photos), str(folder)), env=environment(), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    parts = table.ScoredTable.read(folder)
    assert len(parts.rows.keys) == len(set(parts.rows.keys)) == 11
    assert by_key(parts) == by_key(score(photos, tmp_path / "whole", models))


def test_bad_input_ends_in_one_sentence(photos, models, tmp_path):
    with pytest.raises(ValueError, match="None of the pictures can be scored; the first one fails with: 05.png"):
        bad = [pictures.find_pictures(photos)[5]]
        dataset_scoring.score_dataset(bad, dataset_scoring.Scorer(models), tmp_path / "t")
    with pytest.raises(ValueError, match="one IQA model, not of 2"):
        score(photos, tmp_path / "t", models, features=True)
    scored = score(photos, tmp_path / "t", models)
    with pytest.raises(ValueError, match=r"already holds a table of piqe, entropy \(score, .* not of piqe"):
        score(photos, tmp_path / "t", models[:1])
    with pytest.raises(ValueError, match="has no such column. Unknown metric 'pique'.*Did you mean piqe"):
        scored.metrics(("pique",))
    with pytest.raises(ValueError, match="holds no table of scores"):
        table.ScoredTable.read(photos)


def test_scores_that_never_change_cannot_be_standardised(models, tmp_path):
    training_pictures.write(tmp_path / "photos", 1)
    scored = score(tmp_path / "photos", tmp_path / "t", models[:1])
    assert "std" not in json.loads((tmp_path / "t" / "statistics.json").read_text())["metrics"][0]
    with pytest.raises(ValueError, match="scores of piqe in .* are all the same or missing"):
        scored.metrics()
