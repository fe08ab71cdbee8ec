"""Scores of one's own, from a file to an adapter that is asked for them; and runs that know what scored their table."""

import json
import shutil

import folder_paths
import iqa_nets
import pytest
import training_models
import training_pictures
import training_runs
from PIL import Image
from training_runs import command

from iqa_adapter.adapter import checkpoint
from iqa_adapter.nodes.conditioning import IQAQualityEmbed
from iqa_adapter.training.table import ScoredTable

SMALL = ["precision=float32", "resolution=64", "bucket_step=8", "learning_rate=1e-2", "steps=2", "batch_size=2"]


@pytest.fixture()
def adapters(tmp_path, monkeypatch):
    """Where the adapters go."""
    monkeypatch.setitem(folder_paths.folder_names_and_paths, "iqa_adapter", ([str(tmp_path / "m")], {".safetensors"}))
    return tmp_path / "m"


@pytest.fixture()
def mos(tmp_path):
    """Six photos and what people think of five of them: lower is better."""
    photos = training_pictures.write(tmp_path / "photos", 6)
    lines = [f"photos\\{number:02d}.png;{number + 0.5}" for number in range(5)]
    (tmp_path / "mos.csv").write_text("\n".join(["Bild;Note", *lines, "photos\\99.png;1"]).replace(".5", ",5"))
    return photos


def import_mos(tmp_path):
    words = ["--key", "Bild", "--columns", "Note=note:lower:aesthetic"]
    return command("score", tmp_path / "photos", tmp_path / "table", "--import", tmp_path / "mos.csv", *words)


def train(tmp_path, *words):
    options = ["--checkpoint", "quickstart", "--folder", tmp_path / "run", "--set", *SMALL, *words]
    return command("train", tmp_path / "photos", tmp_path / "table", "new", *options)


def test_an_adapter_learns_scores_of_ones_own(mos, adapters, tmp_path, capsys):
    assert import_mos(tmp_path) == 0
    said = capsys.readouterr().out
    assert "note: 1 of 6 rows of mos.csv are of no picture that is here, photos\\99.png among them." in said
    assert "note: 1 of 6 pictures have no row in mos.csv and are left out, 05.png among them." in said
    assert "5 of 6 pictures: note (imported scores) in" in said
    assert train(tmp_path) == 0, capsys.readouterr().err
    adapter = checkpoint.load_adapter(adapters / "new.safetensors")
    (metric,) = adapter.metadata.metrics
    assert (metric.name, metric.higher_is_better, metric.aesthetic, metric.resize) == ("note", False, True, "")
    assert metric.mean == pytest.approx(2.5) and "5 pictures" in adapter.metadata.origin
    _, request = IQAQualityEmbed.execute(adapter, 50, 99).args
    assert request.startswith("note = 0.54 (better than 99 %, -1.39z)")
    _, request = IQAQualityEmbed.execute(adapter, 50, 50, "note=3.5").args
    assert request.startswith("note = 3.5 (better than 25 %, +0.71z)")

    assert train(tmp_path, "steps=3") == 0
    (tmp_path / "mos.csv").write_text((tmp_path / "mos.csv").read_text().replace("3,5", "3,25"))
    assert import_mos(tmp_path) == 0 and train(tmp_path, "steps=4") == 1
    assert "was trained on other data (other scores in the table)" in capsys.readouterr().err
    Image.new("RGB", (80, 64), "red").save(mos / "02.png")
    words = ["--anew", "--checkpoint", "quickstart", "--folder", tmp_path / "run", "--set", *SMALL]
    assert command("train", mos, tmp_path / "table", "new", *words) == 1
    error = capsys.readouterr().err
    assert "02.png is no longer the picture that was scored; import their scores again." in error
    assert (tmp_path / "run" / "checkpoint.pt").exists()
    assert import_mos(tmp_path) == 0 and command("train", mos, tmp_path / "table", "new", *words) == 0


@pytest.mark.parametrize(
    "words, message",
    [
        (["--import", "{file}", "--key", "Bild"], "--import needs --columns"),
        (["--metrics", "piqe", "--key", "Bild"], "--key and --columns are of --import"),
        (["--import", "{none}", "--columns", "x:higher"], "No such file"),
        (["--import", "{file}", "--columns", "Note:lower"], "say with --key which of its columns names the pictures"),
    ],
)
def test_mistakes_end_in_one_sentence(mos, tmp_path, capsys, words, message):
    places = {"file": tmp_path / "mos.csv", "none": tmp_path / "none.csv"}
    assert command("score", mos, tmp_path / "t", *[word.format(**places) for word in words]) == 1
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("error: ") and message in error and not (tmp_path / "t").exists()


def test_a_run_knows_the_weights_that_scored_its_table(tmp_path):
    iqa_nets.write_cnniqa(tmp_path)
    scored = training_runs.scored(tmp_path / "photos", tmp_path / "t", "cnniqa")
    training_runs.go(scored, tmp_path, steps=1, late_from=1.0)
    known = json.loads((tmp_path / "run" / "run.json").read_text())["data"]
    assert known["weights"] == scored[1].contents.weights and known["versions"] == scored[1].contents.versions
    stored = json.loads((tmp_path / "t" / "table.json").read_text())
    stored["weights"]["cnniqa"] = dict.fromkeys(stored["weights"]["cnniqa"], "0" * 64)
    (tmp_path / "t" / "table.json").write_text(json.dumps(stored))
    with pytest.raises(ValueError, match=r"was trained on other data \(weights of cnniqa\)"):
        training_runs.go((scored[0], ScoredTable.read(tmp_path / "t")), tmp_path, steps=2, late_from=1.0)
    for name in ("weights", "versions", "imported"):
        del stored[name]
    (tmp_path / "t" / "table.json").write_text(json.dumps(stored))
    training_runs.go((scored[0], ScoredTable.read(tmp_path / "t")), tmp_path, steps=2, late_from=1.0)


def test_a_run_finds_replaced_pictures_before_it_prepares_any(tmp_path):
    scored = training_runs.scored(tmp_path / "photos", tmp_path / "t", "entropy")
    shutil.copy(tmp_path / "photos" / "02.png", tmp_path / "photos" / "04.png")
    watch = training_models.Watch()
    with pytest.raises(ValueError, match="04.png is no longer the picture that was scored; score the set again"):
        training_runs.go(scored, tmp_path, watch=watch)
    assert watch.prepared == 0 and not (tmp_path / "run" / "run.json").exists()
