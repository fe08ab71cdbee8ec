"""A folder ranked, listed and copied: what is kept, what is written, and that nothing else changes."""

import csv
import io
import tarfile

import folder_paths
import pytest
import torch
from PIL import Image

from iqa_adapter.figures.grid import to_pillow
from iqa_adapter.iqa_models import ranking
from iqa_adapter.iqa_models.loading import load_iqa_model
from iqa_adapter.iqa_models.scoring import Scores
from iqa_adapter.nodes.cull import IQACullFolder
from iqa_adapter.pictures.distortions import distort
from iqa_adapter.pictures.photos import photo


@pytest.fixture(scope="module")
def iqa():
    return load_iqa_model("quickstart_iqa")


@pytest.fixture(scope="module")
def entropy():
    return load_iqa_model("entropy")


@pytest.fixture()
def places(tmp_path, monkeypatch):
    """Input and output folder of ComfyUI, and a folder of photos with a blurred copy of each."""
    for name in ("input", "output"):
        (tmp_path / name).mkdir()
        monkeypatch.setattr(folder_paths, f"{name}_directory", str(tmp_path / name))
    photos = tmp_path / "input" / "photos"
    (photos / "more").mkdir(parents=True)
    for name in ("cat", "astronaut", "coffee"):
        clean = photo(name)
        to_pillow(clean.movedim(1, -1)).save(photos / f"{name}.png")
        to_pillow(distort(clean, "gaussian_blur", 0.9).movedim(1, -1)).save(photos / "more" / f"{name}.png")
    (photos / "cat.txt").write_text("a cat")
    return tmp_path


def run(model, pictures="photos", keep="best share", share=0.5, action="copy", **inputs):
    values = {"count": 2, "threshold": 0.5, "protocol": "64", "name": "best"} | inputs
    result = IQACullFolder.execute(pictures, model, keep, share, action=action, **values)
    assert result.ui["text"] == [result.args[0]]
    return result.args


def rows(folder):
    return list(csv.DictReader(io.StringIO((folder / "scores.csv").read_text())))


def content(folder):
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_the_best_are_copied_with_captions_and_nothing_else_changes(places, iqa):
    before = content(places / "input")
    table, sheet, folder, scores, kept = run(iqa)
    made = places / "output" / "iqa_culled" / "best_00001"
    assert folder == str(made) and kept == 3 and len(scores) == 6
    assert sorted(file.name for file in made.iterdir()) == [
        "astronaut.png",
        "cat.png",
        "cat.txt",
        "coffee.png",
        "scores.csv",
    ]
    assert all((made / name).read_bytes() == before[f"photos/{name}"] for name in ("cat.png", "cat.txt", "coffee.png"))
    assert content(places / "input") == before
    listed = rows(made)
    assert [row["kept"] for row in listed] == ["yes"] * 3 + ["no"] * 3
    measured = [float(row["quickstart_iqa"]) for row in listed]
    assert measured == sorted(measured, reverse=True)
    assert {row["file"] for row in listed[3:]} == {"more/astronaut.png", "more/cat.png", "more/coffee.png"}
    assert table.startswith("3 of 6 pictures are kept, by quickstart_iqa\n1. ")
    assert sheet.shape[0] == 1 and sheet.shape[2] > 6 * 190


def test_a_second_run_takes_a_new_folder_and_does_not_read_copies(places, iqa):
    run(iqa, keep="count")
    first = content(places / "output")
    scores = run(iqa, pictures=str(places), keep="count")[3]
    assert len(scores) == 6, "copies of the first run are no pictures of the second"
    assert first.items() <= content(places / "output").items()
    assert (places / "output" / "iqa_culled" / "best_00002" / "scores.csv").is_file()


def test_list_writes_the_table_alone(places, iqa):
    folder = places / "output" / "iqa_culled" / "best_00001"
    run(iqa, action="list")
    assert [file.name for file in folder.iterdir()] == ["scores.csv"]


def test_a_threshold_is_in_the_direction_of_the_metric(places, iqa):
    piqe = load_iqa_model("piqe")
    scores = run(piqe, keep="threshold", threshold=50.0, protocol="as is")
    values = scores[3].values[:, 0]
    assert scores[4] == int((values <= 50).sum()) and 0 < scores[4] < 6


def test_equal_names_get_numbers_and_shards_are_unpacked(places, iqa):
    with tarfile.open(places / "input" / "photos" / "set.tar", "w") as shard:
        for name in ("cat", "coffee"):
            shard.add(places / "input" / "photos" / f"{name}.png", f"{name}.png")
    made = places / "output" / "iqa_culled" / "all_00001"
    run(iqa, share=1.0, name="all")
    names = sorted(file.name for file in made.iterdir() if file.suffix == ".png")
    assert names == ["astronaut.png", "astronaut_2.png", "cat.png", "cat_2.png", "cat_3.png", "coffee.png",
                     "coffee_2.png", "coffee_3.png"]  # fmt: skip
    for row in rows(made):
        assert Image.open(made / row["copy"]).size == (64, 64)


def test_copies_have_names_that_every_system_can_bear(places, iqa):
    (places / "input" / "shards").mkdir()
    picture = places / "input" / "photos" / "cat.png"
    with tarfile.open(places / "input" / "shards" / "set.tar", "w") as shard:
        for name in ("con", "a:b", 'c"d', "plain"):
            shard.add(picture, f"{name}.png")
    run(iqa, pictures="shards", share=1.0, name="all")
    made = places / "output" / "iqa_culled" / "all_00001"
    names = sorted(file.name for file in made.iterdir() if file.suffix == ".png")
    assert names == ["a_b.png", "c_d.png", "con_.png", "plain.png"]


def test_what_cannot_be_scored_is_said_and_left_out(places, iqa):
    (places / "input" / "photos" / "broken.png").write_bytes(b"no picture")
    table, *_, kept = run(iqa)
    assert kept == 3 and "1 could not be scored: broken.png" in table
    assert rows(places / "output" / "iqa_culled" / "best_00001")[-1]["kept"] == "not scored"


def test_several_metrics_count_alike_each_in_its_direction():
    values = torch.tensor([[0.9, 10.0], [0.5, 0.0], [0.1, 50.0], [float("nan"), 0.0]])
    scores = Scores(("quickstart_iqa", "piqe"), values, "64")
    goodness = ranking.combined_goodness(scores)
    assert ranking.best_first(goodness) == [0, 1, 2, 3]
    flat = Scores(("quickstart_iqa", "piqe"), torch.tensor([[0.5, 3.0], [0.5, 1.0]]), "64")
    assert ranking.best_first(ranking.combined_goodness(flat)) == [1, 0]
    assert ranking.kept(scores, goodness, "best share", 1.0, 0, 0).tolist() == [True, True, True, False]


def test_two_metrics_stand_in_the_table(places, iqa, entropy):
    run(iqa, model_2=entropy, action="list")
    assert {"quickstart_iqa", "entropy", "mean of z-scores"} <= rows(places / "output/iqa_culled/best_00001")[0].keys()


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"pictures": ""}, "No folder of pictures is chosen"),
        ({"pictures": "nowhere"}, "There is no .*nowhere; give a folder"),
        ({"share": 0.0}, "A best share of 0 keeps no picture"),
    ],
)
def test_bad_input_is_one_sentence_and_leaves_nothing_behind(places, iqa, inputs, message):
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        run(iqa, **inputs)
    assert not list((places / "output").iterdir())


def test_names_that_are_no_folders_are_refused_before_the_run(places):
    assert "must be a plain file name" in IQACullFolder.validate_inputs("../best", "photos")
    assert IQACullFolder.validate_inputs("best", "photos") is True
