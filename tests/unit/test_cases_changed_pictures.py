"""A table knows what it saw: replaced, renamed and deleted pictures are found."""

import io
import json
import os
import shutil
import tarfile

import iqa_nets
import numpy as np
import pyarrow
import pyarrow.parquet as parquet
import pytest
import training_pictures
import training_runs
from PIL import Image

from iqa_adapter.iqa_models import loading, weights
from iqa_adapter.nodes.score_dataset import IQAScoreDataset
from iqa_adapter.pictures.pixels import decode, size_of
from iqa_adapter.pictures.reading import Picture, find_pictures
from iqa_adapter.quickstart.model import load_quickstart
from iqa_adapter.training import pictures_seen, table
from iqa_adapter.training.observer import Observer
from iqa_adapter.training.score_set import Scorer, score_dataset
from iqa_adapter.training.settings import DataSettings


@pytest.fixture(scope="module")
def entropy():
    return loading.load_iqa_model("entropy")


@pytest.fixture(scope="module")
def models():
    return load_quickstart()


@pytest.fixture()
def photos(tmp_path):
    return training_pictures.write(tmp_path / "photos", 6)


class Counting:
    """A bar; how many scores were made."""

    def __init__(self):
        self.total, self.notes = 0, []

    def __call__(self, total):
        self.total = total
        return self

    def update(self, count):
        pass


def score(photos, folder, *metrics, shard_size=2, **options):
    bar = Counting()
    scorer = Scorer(metrics, "as is", **options)
    score_dataset(find_pictures(photos), scorer, folder, bar, shard_size, bar.notes.append)
    return table.ScoredTable.read(folder), bar


def true_scores(photos, entropy, tmp_path):
    """Of a table that was made anew."""
    shutil.rmtree(tmp_path / "anew", ignore_errors=True)
    return by_key(score(photos, tmp_path / "anew", entropy)[0])


def by_key(scored):
    return dict(zip(scored.rows.keys, scored.rows.values.tolist(), strict=True))


def training_set(photos, scored, models, tmp_path):
    settings = DataSettings(resolution=64, bucket_step=8)
    return training_runs.encoding(photos, scored, models, settings, tmp_path / "cache")


def noise(seed, side=(80, 64)):
    return Image.fromarray(np.random.default_rng(seed).integers(0, 99, (*side[::-1], 3), dtype=np.uint8))


def grow(photos, count):
    """More pictures, beside those that are there."""
    for number in range(6, count):
        noise(number).save(photos / f"{number:02d}.png")


def bitmaps(folder, count=4):
    """Files that are all equally large, with captions."""
    folder.mkdir()
    for number in range(count):
        noise(number).save(folder / f"{number}.bmp")
        (folder / f"{number}.txt").write_text(f"noise {number}")
    return folder


def test_rows_remember_their_pictures(photos, entropy, tmp_path):
    scored, _ = score(photos, tmp_path / "t", entropy)
    for number, picture in enumerate(find_pictures(photos)):
        state = picture.file.stat()
        assert scored.rows.seen.places[number].tolist() == [state.st_size, 0, state.st_mtime_ns]
        assert scored.rows.seen.digests[number] == pictures_seen.digest(picture.file.read_bytes())


def test_untouched_pictures_are_not_read_again(photos, entropy, models, tmp_path, monkeypatch):
    scored, _ = score(photos, tmp_path / "t", entropy)
    training_set(photos, scored, models, tmp_path)  # what it reads besides is kept
    opened = []
    content = Picture.content
    monkeypatch.setattr(Picture, "content", lambda picture: opened.append(picture.key) or content(picture))
    training_set(photos, scored, models, tmp_path)
    assert opened == []
    again, bar = score(photos, tmp_path / "t", entropy)
    assert set(opened) == {"00.png"} and bar.total == 0 and bar.notes == []  # that one is scored to try the models
    assert by_key(again) == by_key(scored)


def test_growing_leaves_no_finished_table_behind(photos, entropy, tmp_path):
    """Killed at any moment: statistics are of all rows, or there are none."""
    score(photos, tmp_path / "t", entropy)
    grow(photos, 12)

    class Killed(Counting):
        left = 9

        def update(self, count):
            assert not (tmp_path / "t" / "statistics.json").exists()
            self.left -= count
            if self.left <= 6:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        score_dataset(find_pictures(photos), Scorer([entropy], "as is"), tmp_path / "t", Killed(), 2)
    assert 6 < len(table.keys(tmp_path / "t")) < 12
    with pytest.raises(ValueError, match="has not finished; start it again"):
        table.ScoredTable.read(tmp_path / "t")
    scored, bar = score(photos, tmp_path / "t", entropy)
    assert len(scored.rows.keys) == 12 and 0 < bar.total < 6
    assert scored.metrics()[0].mean == pytest.approx(scored.rows.values.mean().item(), rel=1e-5)


@pytest.mark.parametrize("version", ["today", "0.1.0"])
def test_statistics_of_other_rows_do_not_pass(photos, entropy, tmp_path, version):
    """As a table of 0.1.0 that grew, or one of which a shard was deleted."""
    folder = tmp_path / "t"
    score(photos, folder, entropy)
    if version == "0.1.0":
        stored = json.loads((folder / "statistics.json").read_text())
        del stored["rows"]
        (folder / "statistics.json").write_text(json.dumps(stored))
    table.ScoredTable.read(folder)
    (folder / "000001.parquet").unlink()
    with pytest.raises(ValueError, match="has not finished; start it again"):
        table.ScoredTable.read(folder)
    assert len(score(photos, folder, entropy)[0].rows.keys) == 6


def test_pictures_replaced_by_others_of_the_same_size(entropy, models, tmp_path):
    photos = bitmaps(tmp_path / "photos")
    scored, _ = score(photos, tmp_path / "t", entropy)
    noise(9).save(photos / "1.bmp")
    assert (photos / "1.bmp").stat().st_size == scored.rows.seen.places[1, 0]
    made = training_set(photos, scored, models, tmp_path)
    with pytest.raises(ValueError, match=r"^1.bmp is no longer the picture that was scored; score the set again"):
        made.prepare(Observer())
    again, bar = score(photos, tmp_path / "t", entropy)
    assert bar.total == 1 and by_key(again) == true_scores(photos, entropy, tmp_path)
    assert by_key(again)["1.bmp"] != by_key(scored)["1.bmp"]
    assert bar.notes == ["1 pictures were replaced since they were scored, and are scored again: 1.bmp."]
    training_set(photos, again, models, tmp_path).prepare(Observer())


def test_pictures_replaced_by_others_of_another_size(photos, entropy, models, tmp_path):
    scored, _ = score(photos, tmp_path / "t", entropy)
    for name in ("00.png", "03.png"):
        noise(5, (100, 60)).save(photos / name)
    with pytest.raises(ValueError, match=r"00.png is no longer the picture .* \(1 others are not, either\); score the"):
        training_set(photos, scored, models, tmp_path).prepare(Observer())
    again, bar = score(photos, tmp_path / "t", entropy)
    assert bar.total == 2 and by_key(again) == true_scores(photos, entropy, tmp_path)
    made = training_set(photos, again, models, tmp_path)
    made.prepare(Observer())
    assert made.data.item(0)["size"].tolist()[:2] == [60, 100]


def test_renamed_pictures_keep_their_rows(photos, entropy, models, tmp_path):
    scored, _ = score(photos, tmp_path / "t", entropy)
    (photos / "sub").mkdir()
    for name in ("01.png", "01.txt"):
        (photos / name).rename(photos / "sub" / name)
    for old, new in (("02", "x"), ("03", "02"), ("x", "03")):  # two exchange their names
        (photos / f"{old}.png").rename(photos / f"{new}.png")
    made = training_set(photos, scored, models, tmp_path)
    made.prepare(Observer())
    assert len(made.items) == 6 and made.items.notes[0].startswith("3 pictures were renamed since they were scored, ")
    true = true_scores(photos, entropy, tmp_path)
    assert made.items.values.tolist() == [true[picture.key] for picture in made.items.pictures]
    again, bar = score(photos, tmp_path / "t", entropy)
    assert bar.total == 0 and by_key(again) == true and len(bar.notes) == 1
    assert "3 pictures were renamed since they were scored, and keep their rows" in bar.notes[0]
    assert training_set(photos, again, models, tmp_path).items.notes == []


def test_rows_of_deleted_pictures_are_dropped(photos, entropy, models, tmp_path):
    scored, _ = score(photos, tmp_path / "t", entropy)
    for name in ("02.png", "03.png", "05.png"):
        (photos / name).unlink()
    made = training_set(photos, scored, models, tmp_path)
    (note,) = made.items.notes
    assert len(made.items) == 3 and "3 of 6 rows of" in note and "not here, 02.png among them" in note
    again, bar = score(photos, tmp_path / "t", entropy)
    assert again.rows.keys == ["00.png", "01.png", "04.png"] and bar.total == 0
    assert bar.notes == ["3 rows are of pictures that are gone, and are dropped: 02.png and others."]
    assert again.metrics()[0].mean == pytest.approx(again.rows.values.mean().item(), rel=1e-5)
    assert len(table.shards(tmp_path / "t")) == 2


def test_a_kill_between_two_shards_leaves_no_row_twice(photos, entropy, tmp_path):
    """The new shard is there, the old one is still there, too."""
    scored, _ = score(photos, tmp_path / "t", entropy)
    shutil.copy(tmp_path / "t" / "000001.parquet", tmp_path / "t" / "000007.parquet")
    with pytest.raises(ValueError, match="has not finished"):
        table.ScoredTable.read(tmp_path / "t")
    again, bar = score(photos, tmp_path / "t", entropy)
    assert by_key(again) == by_key(scored) and len(again.rows.keys) == 6 and bar.total == 0 and bar.notes == []


def test_a_table_of_other_pictures_is_refused(photos, entropy, tmp_path):
    scored, _ = score(photos, tmp_path / "t", entropy)
    other = bitmaps(tmp_path / "other")
    with pytest.raises(ValueError, match=r"is of none of these pictures \(its first is 00.png, theirs is 0.bmp\)"):
        score(other, tmp_path / "t", entropy)
    assert by_key(table.ScoredTable.read(tmp_path / "t")) == by_key(scored)


def test_copied_sets_are_the_same(photos, entropy, models, tmp_path):
    scored, _ = score(photos, tmp_path / "t", entropy)
    for path in photos.iterdir():
        os.utime(path, (1, 1))
    assert len(training_set(photos, scored, models, tmp_path).items) == 6
    again, bar = score(photos, tmp_path / "t", entropy)
    assert bar.total == 0 and bar.notes == [] and (again.rows.seen.places[:, 2] == 10**9).all()


def tar(path, names, seed=0):
    with tarfile.open(path, "w") as archive:
        for number, name in enumerate(names):
            data = io.BytesIO()
            noise(seed + number).save(data, "BMP")
            for suffix, content in ((".bmp", data.getvalue()), (".txt", b"noise")):
                member = tarfile.TarInfo(f"{name}{suffix}")
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))


def parquet_file(path, count, seed=0):
    rows = []
    for number in range(count):
        data = io.BytesIO()
        noise(seed + number).save(data, "BMP")
        rows.append({"image": {"bytes": data.getvalue(), "path": None}, "text": "noise"})
    parquet.write_table(pyarrow.Table.from_pylist(rows), path)


def test_members_of_shards(entropy, models, tmp_path):
    photos = tmp_path / "photos"
    photos.mkdir()
    tar(photos / "a.tar", "pqr")
    parquet_file(photos / "b.parquet", 3, seed=10)
    scored, _ = score(photos, tmp_path / "t", entropy)
    assert all(scored.rows.seen.digests) and len(scored.rows.keys) == 6
    tar(photos / "a.tar", "qrs", seed=1)  # the first is gone, the others are moved, one is new
    parquet_file(photos / "b.parquet", 3, seed=11)
    (photos / "a.tar").rename(tmp_path / "a.tar")
    made = training_set(photos, scored, models, tmp_path)
    made.prepare(Observer())
    (note,) = [note for note in made.items.notes if "has changed" in note]
    assert note.startswith("b.parquet has changed: 1 of its pictures are no longer those that were scored and are left")
    assert [picture.key for picture in made.items.pictures] == ["b.parquet/00000000", "b.parquet/00000001"]
    (tmp_path / "a.tar").rename(photos / "c.tar")
    again, bar = score(photos, tmp_path / "t", entropy)
    assert bar.total == 2 and by_key(again) == true_scores(photos, entropy, tmp_path)
    training_set(photos, again, models, tmp_path).prepare(Observer())


def without_columns(folder):
    """As version 0.1.0 left it."""
    for path in table.shards(folder):
        parquet.write_table(parquet.read_table(path).drop_columns(list(pictures_seen.SEEN)), path)
    (folder / "unreadable.parquet").unlink()
    contents = json.loads((folder / "table.json").read_text())
    known = {name: contents[name] for name in ("kind", "models", "protocol", "layer", "pooling")}
    (folder / "table.json").write_text(json.dumps(known))


def test_tables_of_the_first_version_are_read_and_learn_what_they_are_of(photos, entropy, models, tmp_path):
    before, _ = score(photos, tmp_path / "t", entropy)
    without_columns(tmp_path / "t")
    old = table.ScoredTable.read(tmp_path / "t")
    made = training_set(photos, old, models, tmp_path)
    made.prepare(Observer())
    (note,) = made.items.notes
    assert "is of a version that did not write down which pictures it saw" in note
    noise(3, (100, 60)).save(photos / "04.png")  # seen by its size alone
    again, bar = score(photos, tmp_path / "t", entropy)
    assert bar.total == 1 and by_key(again) == true_scores(photos, entropy, tmp_path)
    assert len(bar.notes) == 1 and "by a version that did not write down which pictures it saw" in bar.notes[0]
    assert all(again.rows.seen.digests) and training_set(photos, again, models, tmp_path).items.notes == []
    assert score(photos, tmp_path / "t", entropy)[1].notes == []
    assert before.rows.keys == sorted(again.rows.keys)


def test_activations_follow_their_pictures(photos, tmp_path):
    iqa_nets.write_cnniqa(tmp_path)
    model = loading.load_iqa_model("cnniqa")
    scored, _ = score(photos, tmp_path / "t", model, features=True, layer="fc1")
    before = by_key(scored)
    del scored
    (photos / "01.png").unlink()
    (photos / "02.png").rename(photos / "09.png")
    again, bar = score(photos, tmp_path / "t", model, features=True, layer="fc1")
    after = by_key(again)
    assert bar.total == 0 and sorted(after) == ["00.png", "03.png", "04.png", "05.png", "09.png"]
    assert after["09.png"] == before["02.png"] and after["04.png"] == before["04.png"]
    assert {path.stem for path in (tmp_path / "t").glob("*.safetensors")} == \
        {path.stem for path in table.shards(tmp_path / "t")}  # fmt: skip


def test_an_unreadable_picture_that_was_mended_is_not_left_out(photos, entropy, models, tmp_path):
    good = (photos / "02.png").read_bytes()
    (photos / "02.png").write_bytes(b"damaged")
    scored, _ = score(photos, tmp_path / "t", entropy)
    assert len(training_set(photos, scored, models, tmp_path).items) == 5
    os.utime(photos / "02.png", (1, 1))
    assert len(training_set(photos, scored, models, tmp_path).items) == 5
    (photos / "02.png").write_bytes(good)
    with pytest.raises(ValueError, match=r"1 of 6 pictures have no row .*02.png.* or score them"):
        training_set(photos, scored, models, tmp_path)
    assert len(score(photos, tmp_path / "t", entropy)[0].rows.keys) == 6


def test_other_weights_are_refused(photos, tmp_path):
    iqa_nets.write_cnniqa(tmp_path)
    file = weights.locate(loading.load_iqa_model("cnniqa").entry.weights[0])
    model = loading.load_iqa_model("cnniqa")
    scored, _ = score(photos, tmp_path / "t", model)
    name = file.name
    digest = scored.contents.weights["cnniqa"][name]
    assert digest == model.files[0].sha256() and len(digest) == 64
    assert scored.contents.versions["cnniqa"].startswith("pyiqa ")
    iqa_nets.write_cnniqa(tmp_path, seed=1)
    grow(photos, 7)
    with pytest.raises(ValueError, match="has changed since the model was loaded from it. Load it again"):
        score(photos, tmp_path / "t", model)
    other = loading.load_iqa_model("cnniqa")
    with pytest.raises(
        ValueError, match=rf"was scored with other weights of cnniqa \(SHA-256 of {name} {digest[:12]}, "
    ):
        score(photos, tmp_path / "t", other)
    iqa_nets.write_cnniqa(tmp_path)
    assert len(score(photos, tmp_path / "t", loading.load_iqa_model("cnniqa"))[0].rows.keys) == 7


def test_versions_that_follow_one_another_are_written_down(photos, entropy, tmp_path):
    scored, _ = score(photos, tmp_path / "t", entropy)
    now = scored.contents.versions["entropy"]
    stored = json.loads((tmp_path / "t" / "table.json").read_text())
    stored["versions"]["entropy"] = "this pack 0.1.9"
    (tmp_path / "t" / "table.json").write_text(json.dumps(stored))
    assert score(photos, tmp_path / "t", entropy)[0].contents.versions == {"entropy": "this pack 0.1.9"}
    grow(photos, 7)
    for _ in range(2):
        known = score(photos, tmp_path / "t", entropy)[0].contents
        assert known.versions == {"entropy": f"this pack 0.1.9, {now}"} and known.weights == {}


@pytest.mark.parametrize("change", ["new below", "deleted", "same size", "renamed", "caption", "shard"])
def test_the_graph_sees_what_scoring_would_see(tmp_path, change):
    photos = bitmaps(tmp_path / "photos")
    (photos / "sub").mkdir()
    noise(7).save(photos / "sub" / "7.bmp")
    tar(photos / "sub" / "a.tar", "p")
    for path in (photos / "sub").iterdir():
        os.utime(path, (1, 1))

    def seen():
        return IQAScoreDataset.fingerprint_inputs(pictures=str(photos), iqa_model=None, name="t")

    before = seen()
    (photos / "sub" / "._7.bmp").write_bytes(b"junk")
    (photos / "sub" / "notes.md").write_text("nothing that is read")
    assert before == seen() != ""
    if change == "new below":
        noise(8).save(photos / "sub" / "8.bmp")
    elif change == "deleted":
        (photos / "sub" / "7.bmp").unlink()
    elif change == "same size":
        noise(9).save(photos / "sub" / "7.bmp")
    elif change == "renamed":
        (photos / "sub" / "7.bmp").rename(photos / "sub" / "6.bmp")
    elif change == "caption":
        (photos / "sub" / "7.txt").write_text("noise")
    else:
        tar(photos / "sub" / "a.tar", "pq")
    assert seen() != before
    assert IQAScoreDataset.fingerprint_inputs(pictures=str(tmp_path / "none"))[0] == ""


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_sizes_are_known_without_decoding(orientation):
    data, exif = io.BytesIO(), Image.Exif()
    exif[274] = orientation
    noise(0, (48, 32)).save(data, "JPEG", exif=exif)
    height, width = decode(data.getvalue()).shape[:2]
    assert size_of(data.getvalue()) == (width, height)
    with pytest.raises(ValueError, match="cannot identify"):
        size_of(b"no picture")
