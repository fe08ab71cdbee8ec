"""Decoded pictures that wait: how many bytes of them, and that reading them in pieces changes no value."""

import threading
import time

import iqa_nets
import numpy as np
import pytest
import torch
import torch.nn.functional as F
import training_pictures
from PIL import Image

import iqa
from iqa_adapter.iqa_models import loading, scoring
from iqa_adapter.pictures.picture import Picture
from iqa_adapter.pictures.reading import find_pictures
from iqa_adapter.pictures.scaling import scale
from iqa_adapter.training import command_line
from iqa_adapter.training.reading_ahead import read_ahead
from iqa_adapter.training.score_set import Scorer, score_dataset
from iqa_adapter.training.table import ScoredTable

# Scaling in strips


@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
@pytest.mark.parametrize("size", [(512, 512), (64, 64), (300, 8), (8, 300), (1200, 90), (90, 1200)])
@pytest.mark.parametrize("kind", [torch.uint8, torch.float32])
def test_strips_give_to_the_bit_what_the_whole_picture_gives(monkeypatch, mode, size, kind):
    monkeypatch.setattr("iqa_adapter.pictures.scaling.STRIP", 30_000)
    for height, width in ((700, 1100), (1100, 701), (513, 511), (1, 1000), (1000, 1), (64, 64)):
        pixels = torch.randint(0, 256, (height, width, 3), generator=torch.Generator().manual_seed(height))
        pixels = pixels.to(torch.uint8) if kind == torch.uint8 else pixels / 255
        whole = (pixels.float() / 255 if kind == torch.uint8 else pixels)[None].movedim(-1, 1)
        expected = F.interpolate(whole, size, mode=mode, antialias=True)[0].movedim(0, -1)
        assert torch.equal(scale(pixels, size, mode), expected)


@pytest.mark.parametrize("resize", ["512", "64", "as is"])
def test_a_table_holds_exactly_what_score_images_says(tmp_path, resize):
    """Of a JPEG, a turned one, a transparent PNG and one of 16 bits, all larger than a strip."""
    photos = tmp_path / "photos"
    photos.mkdir()
    pixels = (iqa_nets.photos(1, 1100, 1300)[0] * 255).byte().numpy()
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(pixels).save(photos / "0.jpg")
    Image.fromarray(pixels).save(photos / "1.jpg", exif=exif)
    Image.fromarray(np.dstack([pixels, pixels[..., :1]])).save(photos / "2.png")
    Image.fromarray(pixels[..., 0].astype(np.uint16) * 257).save(photos / "3.png")
    models = [loading.load_iqa_model("entropy"), loading.load_iqa_model("colourfulness")]
    found = find_pictures(photos)
    score_dataset(found, Scorer(models, resize), tmp_path / "t")
    for picture, value in zip(found, ScoredTable.read(tmp_path / "t").rows.values, strict=True):
        assert torch.equal(value, scoring.score_images(models, picture.read()[None], resize).values[0])


# Reading ahead


class Reader:
    """Reads numbers, which take as many bytes, and knows how much is there at once."""

    def __init__(self):
        self.there, self.most, self.lock = {}, 0, threading.Lock()

    def __call__(self, number, reserve):
        time.sleep(0.002 * (number % 3))  # not in order
        reserve(number)
        with self.lock:
            self.there[number] = number
            self.most = max(self.most, sum(self.there.values()))
        return number

    def take(self, number):
        with self.lock:
            del self.there[number]


@pytest.mark.parametrize("memory", [100, 250, 10_000])
def test_no_more_bytes_than_allowed_are_read_ahead(memory):
    reader, numbers = Reader(), [*range(1, 100), 70, 90, 100]
    for item, result in read_ahead(numbers[:99], reader, 8, 64, memory):
        assert item == result
        reader.take(item)
        time.sleep(0.0005)
    # what has been given out is still counted here until it is taken
    assert reader.most <= memory + 99 and (memory < 10_000 or reader.most > 250)


def test_what_is_larger_than_allowed_is_read_alone():
    reader = Reader()
    order = [item for item, _ in read_ahead([5, 500, 6, 7, 600, 700], reader, 4, 10, 50)]
    assert order == [5, 500, 6, 7, 600, 700]


def test_an_error_comes_in_its_place_and_a_stop_leaves_no_thread_waiting():
    def read(number, reserve):
        if number == 3:
            raise ValueError("no picture")
        reserve(60)
        return number

    got = []
    with pytest.raises(ValueError, match="no picture"):
        for item, _ in read_ahead(range(10), read, 4, 6, 100):
            got.append(item)
    assert got == [0, 1, 2]
    before = threading.active_count()
    ahead = read_ahead(range(10, 100), read, 8, 30, 100)
    assert next(ahead) == (10, 10)
    ahead.close()  # seven of them wait for room
    assert threading.active_count() == before


# Scoring


def test_scoring_holds_no_more_decoded_pictures_than_it_may(tmp_path, monkeypatch):
    """Of 24 pictures of 123 kB in float32, five at once where 8 + 32 would be."""
    photos = training_pictures.write(tmp_path / "photos", 24)
    counts, alive = [], []
    original = Scorer.prepare

    def prepare(scorer, picture, reserve=lambda size: None):
        size, pixels, seen = original(scorer, picture, reserve)
        alive.append(torch.multiprocessing.reductions.StorageWeakRef(pixels.untyped_storage()))
        counts.append(sum(not reference.expired() for reference in alive))
        return size, pixels, seen

    monkeypatch.setattr(Scorer, "prepare", prepare)
    models, found = [loading.load_iqa_model("entropy")], find_pictures(photos)
    tables = []
    for memory in (5 * 80 * 64 * 12, 1, 2**30):
        counts.clear()
        scorer = Scorer(models, "as is", memory=memory)
        score_dataset(found, scorer, tmp_path / str(memory))
        tables.append(ScoredTable.read(tmp_path / str(memory)).rows)
        assert max(counts) <= {5 * 80 * 64 * 12: 7, 1: 4}.get(memory, 24)
    assert all(torch.equal(table.values, tables[0].values) and table.keys == tables[0].keys for table in tables)


def test_the_command_line_takes_and_states_the_memory(tmp_path, capsys, monkeypatch):
    photos = training_pictures.write(tmp_path / "photos", 2)
    told = []
    monkeypatch.setattr(command_line, "Scorer", lambda *arguments: told.append(arguments[-1]) or Scorer(*arguments))
    words = ["score", str(photos), str(tmp_path / "t"), "--metrics", "entropy"]
    for extra in ([], ["--memory", "0.25"]):
        assert command_line.run(iqa.parse([*words, *extra]), {}) == 0
    assert told == [2**30, 2**28]
    assert command_line.run(iqa.parse([*words, "--memory", "0"]), {}) == 1
    assert "error: --memory is the GiB for decoded pictures, so it must be above 0" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        iqa.parse(["score", "--help"])
    assert "--memory GIB" in capsys.readouterr().out


def test_decoding_asks_for_room_before_it_begins(tmp_path):
    Image.new("RGB", (300, 200)).save(tmp_path / "0.jpg")
    asked = []

    def refuse(size):
        asked.append(size)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Picture("0.jpg", None, tmp_path / "0.jpg").values(refuse)
    Image.new("RGBA", (300, 200)).save(tmp_path / "1.png")
    with pytest.raises(KeyboardInterrupt):
        Picture("1.png", None, tmp_path / "1.png").values(refuse)
    assert 300 * 200 * 10 <= asked[0] < asked[1]
