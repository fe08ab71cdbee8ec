"""Tables of pictures that some metric cannot judge, and what a training makes of them."""

import json

import iqa_nets
import pytest
import torch
import training_pictures
import training_runs
from PIL import Image

from iqa_adapter.iqa_models import catalogue, loading
from iqa_adapter.pictures.reading import find_pictures
from iqa_adapter.quickstart.model import load_quickstart
from iqa_adapter.training.score_set import Scorer, score_dataset
from iqa_adapter.training.settings import DataSettings
from iqa_adapter.training.table import ScoredTable


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Six photos and a black one, with captions."""
    folder = training_pictures.write(tmp_path_factory.mktemp("photos"), 6)
    Image.new("RGB", (80, 64)).save(folder / "black.png")
    (folder / "black.txt").write_text("nothing")
    return folder


@pytest.fixture(scope="module")
def models():
    return load_quickstart()


def score(photos, folder, *metrics, resize="as is", **options):
    loaded = [loading.load_iqa_model(metric) for metric in metrics]
    score_dataset(find_pictures(photos), Scorer(loaded, resize), folder, **options)
    return ScoredTable.read(folder)


def training_set(photos, table, models, folder, **settings):
    settings = DataSettings(resolution=64, bucket_step=8, cache=False, **settings)
    return training_runs.encoding(photos, table, models, settings, folder).data


@pytest.mark.parametrize("shard_size", [1, 3, 100])
def test_a_table_with_a_black_picture_is_finished(photos, tmp_path, caplog, shard_size):
    table = score(photos, tmp_path, "piqe", "entropy", shard_size=shard_size)
    values = dict(zip(table.rows.keys, table.rows.values, strict=True))
    assert len(values) == 7 and values["black.png"].isnan().tolist() == [True, False]
    assert all(row.isfinite().all() for key, row in values.items() if key != "black.png")
    assert (tmp_path / "unreadable.txt").read_text() == "black.png: piqe has no answer for it (NaN)\n"
    assert "piqe has no answer for black.png" in caplog.text
    known = table.metrics()
    assert [metric.missing for metric in known] == [1, 0] and {metric.resize for metric in known} == {"as is"}
    assert [entry["missing"] for entry in json.loads((tmp_path / "statistics.json").read_text())["metrics"]] == [1, 0]
    assert torch.equal(score(photos, tmp_path, "piqe", "entropy").rows.values.nan_to_num(-1),
                       table.rows.values.nan_to_num(-1))  # fmt: skip


def test_training_leaves_out_what_has_no_score(photos, models, tmp_path, caplog):
    table = score(photos, tmp_path, "piqe", "entropy")
    made = training_set(photos, table, models, tmp_path / "cache")
    assert len(made.items) == 6 and "black.png" not in [picture.key for picture in made.items.pictures]
    assert "1 of 7 pictures have no score (NaN)" in caplog.text
    assert all(made.item(number)["quality"].isfinite().all() for number in range(6))
    assert len(training_set(photos, table, models, tmp_path / "cache", metrics=("entropy",)).items) == 7


def test_training_without_any_score_is_refused(photos, models, tmp_path):
    table = score(photos, tmp_path, "piqe")
    table.rows.values[:] = float("nan")
    with pytest.raises(ValueError, match="None of the 7 pictures has a score in the table"):
        training_set(photos, table, models, tmp_path / "cache")


@pytest.mark.parametrize("resize", ["as is", "512", "64"])
def test_an_adapter_says_how_the_pictures_of_its_table_were_resized(photos, models, tmp_path, resize):
    metadata = training_set(photos, score(photos, tmp_path, "entropy", resize=resize), models, tmp_path / "c").metadata
    assert metadata.protocol == resize == metadata.metrics[0].resize
    assert type(metadata).from_json(metadata.to_json()) == metadata


def test_activations_that_are_not_finite_are_left_out(photos, models, tmp_path):
    iqa_nets.write_cnniqa(tmp_path)
    model = loading.load_iqa_model("cnniqa")
    net = model.patcher.model.net
    net.fc2.register_forward_hook(lambda _, inputs, output: output / (inputs[0].std(1, keepdim=True) > 0.155).float())
    score_dataset(find_pictures(photos), Scorer([model], "as is", features=True), tmp_path / "t")
    table = ScoredTable.read(tmp_path / "t")
    answered = table.rows.values.isfinite().all(1)
    listed = (tmp_path / "t" / "unreadable.txt").read_text().splitlines()
    assert 0 < answered.sum() < 7 and len(listed) == 7 - answered.sum()
    assert torch.tensor(table.statistics["mean"]).isfinite().all() and table.statistics["count"] == answered.sum()
    assert len(training_set(photos, table, models, tmp_path / "c").items) == answered.sum()


def test_tables_of_version_0_1_0_go_on(photos, tmp_path):
    """Their statistics do not say the resize; the table does."""
    table = score(photos, tmp_path, "entropy", resize="64")
    old = json.loads((tmp_path / "statistics.json").read_text())
    del old["metrics"][0]["protocol"]
    (tmp_path / "statistics.json").write_text(json.dumps(old))
    assert ScoredTable.read(tmp_path).metrics() == table.metrics()
    assert catalogue.find("entropy").resize == "512"
