"""The index of a set: what is written down once is what would be found anew."""

import dataclasses
import os
import pickle
import shutil
import tarfile

import numpy as np
import pytest
import training_pictures
import training_runs

from iqa_adapter.pictures import found, reading
from iqa_adapter.pictures.cropping import bucket_sizes, nearest_bucket
from iqa_adapter.pictures.index import NAME, Index
from iqa_adapter.training.pictures_record import PicturesRecord
from iqa_adapter.training.pictures_seen import Seen


def tar(path, photos, names):
    """A shard of some of the photos, with their captions."""
    with tarfile.open(path, "w") as archive:
        for name in names:
            for file in sorted(photos.glob(f"{name}.*")):
                archive.add(file, file.name)
    return path


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    return training_pictures.write(tmp_path_factory.mktemp("photos"), 8)


@pytest.fixture()
def shards(photos, tmp_path):
    """Three shards, the last one damaged, and a loose picture without caption."""
    folder = tmp_path / "set"
    folder.mkdir()
    tar(folder / "a.tar", photos, ["00", "01", "02"])
    tar(folder / "b.tar", photos, ["03", "04", "05"])
    (folder / "c.tar").write_bytes(b"no archive")
    shutil.copy(photos / "06.png", folder / "z.png")
    return folder


@pytest.fixture()
def indexed(monkeypatch):
    """Small sets get an index, too."""
    monkeypatch.setattr(reading, "INDEXED", 1)


@pytest.fixture()
def looked_through(monkeypatch):
    """Names of the shards that are opened."""
    names, original = [], reading._scanned
    monkeypatch.setattr(reading, "_scanned", lambda root, shard: names.append(shard.name) or original(root, shard))
    return names


def test_an_index_holds_what_is_found_without_it(shards, indexed, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(reading, "INDEXED", 100)
        plain = reading.find_pictures(shards)
    assert not (shards / NAME).exists() and isinstance(plain, reading.Found)
    written, again = reading.find_pictures(shards), reading.find_pictures(shards)
    for pictures in (written, again, pickle.loads(pickle.dumps(again))):
        assert isinstance(pictures, reading.Indexed) and (shards / NAME).is_file()
        assert list(pictures) == list(plain) and len(pictures) == 7
        assert [pictures[number] for number in range(-7, 0)] == list(plain) == list(pictures[:])
        assert pictures.left_out == plain.left_out and "c.tar is damaged" in pictures.left_out[0]
        assert [picture.content() for picture in pictures] == [picture.content() for picture in plain]
        assert (found.places(pictures) == found.places(plain)).all()
        assert [key for part in found.keys(pictures[1:6:2]) for key in part] == [plain[n].key for n in (1, 3, 5)]
        chosen, notes = reading.captioned(pictures)
        assert list(chosen) == list(plain)[:6] and notes == reading.captioned(plain)[1]
        assert (found.in_shards(pictures) >= 0).tolist() == [True] * 6 + [False]


def test_untouched_shards_are_not_opened_again(shards, indexed, looked_through, photos):
    reading.find_pictures(shards)
    assert looked_through == ["a.tar", "b.tar", "c.tar"]
    looked_through.clear()
    reading.find_pictures(shards)
    assert looked_through == ["c.tar"]  # it may have been mended in place
    looked_through.clear()
    tar(shards / "b.tar", photos, ["03", "07"])
    (shards / "c.tar").unlink()
    changed = reading.find_pictures(shards)
    assert looked_through == ["b.tar"] and changed.left_out == []
    expected = ["a.tar/00", "a.tar/01", "a.tar/02", "b.tar/03", "b.tar/07", "z.png"]
    assert [picture.key for picture in changed] == expected
    (shards / "z.txt").write_text("a caption in the end")
    assert reading.find_pictures(shards)[-1].caption == "a caption in the end"
    (shards / "a.tar").unlink()
    assert [picture.key for picture in reading.find_pictures(shards)] == expected[3:]


@pytest.mark.parametrize("content", [b"", b"no table", "other"])
def test_a_damaged_index_is_made_again(shards, indexed, content):
    plain = list(reading.find_pictures(shards))
    data = (shards / NAME).read_bytes()
    (shards / NAME).write_bytes(data[: len(data) // 2] if content == "other" else content)
    assert list(reading.find_pictures(shards)) == plain
    assert Index(shards / NAME, shards).shards


def test_the_index_of_a_set_that_cannot_be_written_to_lies_on_this_machine(shards, indexed, tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.setattr(reading.index.tempfile, "tempdir", str(tmp_path / "here"))
    (shards / NAME).mkdir()  # nothing can take this name, for root either
    pictures = reading.find_pictures(shards)
    assert pictures.index.path.is_relative_to(tmp_path / "here")
    assert list(reading.find_pictures(shards)) == list(pictures)
    monkeypatch.setattr(reading.index.tempfile, "tempdir", "/dev/null")
    assert list(reading.find_pictures(shards)) == list(pictures)


def test_a_shard_that_is_cut_off_meanwhile_is_named(shards, indexed):
    pictures = reading.find_pictures(shards)
    os.truncate(shards / "b.tar", 2000)
    assert pictures[0].read().shape == (64, 80, 3)
    with pytest.raises(reading.UnreadablePicture, match=r"b.tar/04: b.tar ends before it; it was cut off"):
        pictures[4].read()


def test_scores_and_training_are_the_same_with_an_index(shards, photos, tmp_path, monkeypatch):
    (shards / "c.tar").unlink()
    plain = training_runs.scored(shards, tmp_path / "plain")
    losses = training_runs.go(plain, tmp_path / "one", steps=3)[1]
    monkeypatch.setattr(reading, "INDEXED", 1)
    indexed = training_runs.scored(shards, tmp_path / "indexed")
    assert isinstance(indexed[0], reading.Indexed)
    assert indexed[1].rows.keys == plain[1].rows.keys and (indexed[1].rows.values == plain[1].rows.values).all()
    assert training_runs.go(indexed, tmp_path / "two", steps=3)[1] == losses
    assert training_runs.go(indexed, tmp_path / "one", steps=4)[1]  # goes on with what a run without index began
    tar(shards / "b.tar", photos, ["03", "07", "05"])
    shutil.copytree(tmp_path / "indexed", tmp_path / "again")
    with pytest.raises(ValueError, match=r"pictures gone: 1, .*b.tar/04|have no row in the table .*b.tar/07"):
        training_runs.go((reading.find_pictures(shards), indexed[1]), tmp_path / "one", steps=5)


def test_buckets_of_many_are_those_of_each():
    sizes, random = bucket_sizes(512, 64), np.random.default_rng(0)
    height, width = random.integers(1, 3000, (2, 1000))
    together = nearest_bucket(height, width, sizes)
    assert together.tolist() == [int(nearest_bucket(h, w, sizes)) for h, w in zip(height, width, strict=True)]
    ratios = np.log([h / w for h, w in sizes])
    distance = abs(np.log(height / width)[:, None] - ratios)
    assert (distance[range(1000), together] <= distance.min(1) + 1e-6).all()


def test_the_record_of_pictures_says_what_differs(photos, tmp_path):
    pictures = reading.find_pictures(photos)
    before = PicturesRecord.of(pictures, Seen.of(pictures))
    before.write(tmp_path)
    read = PicturesRecord.read(tmp_path)
    assert dict(read) == dict(before) and list(read) == [picture.key for picture in pictures]
    assert before.different(read) == [] and len(PicturesRecord.read(tmp_path / "nothing")) == 0
    others = [dataclasses.replace(pictures[0], caption="new"), dataclasses.replace(pictures[2], key="01.png")]
    now = PicturesRecord.of([*others, *pictures[3:]], Seen.of([*others, *pictures[3:]]))
    assert now.different(read) == [
        "pictures gone: 1, the first is 02.png",
        "pictures changed: 1, the first is 01.png",
        "pictures with another caption: 2, the first is 00.png",
    ]
