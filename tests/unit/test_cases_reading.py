"""Sets of pictures as people have them: each is read with its true values, or named with the reason and skipped."""

import io
import json
import os
import tarfile
import time
from pathlib import Path

import datasets
import numpy as np
import pyarrow
import pyarrow.parquet as parquet
import pytest
import torch
import training_pictures
import training_runs
from PIL import EpsImagePlugin, Image, features

from iqa_adapter.iqa_models.loading import load_iqa_model
from iqa_adapter.pictures.pixels import LARGEST
from iqa_adapter.pictures.reading import Picture, UnreadablePicture, captioned, find_pictures, left_out, read_picture
from iqa_adapter.pictures.text import decode_text
from iqa_adapter.quickstart.model import load_quickstart
from iqa_adapter.training import cache
from iqa_adapter.training.encoder import Models
from iqa_adapter.training.sampling import Samples
from iqa_adapter.training.score_set import Scorer, score_dataset
from iqa_adapter.training.settings import DataSettings, SampleSettings
from iqa_adapter.training.stream import TrainingData
from iqa_adapter.training.table import ScoredTable

SENTENCE = "a café with Füße"


@pytest.fixture(scope="module")
def quickstart():
    return load_quickstart()


def picture(path: Path, caption: str | bytes | None = None, colour=(40, 100, 200)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 6), colour).save(path)
    if caption is not None:
        path.with_suffix(".txt").write_bytes(caption if isinstance(caption, bytes) else caption.encode())
    return path


def encoded(kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 6), (40, 100, 200)).save(buffer, kind)
    return buffer.getvalue()


def tar(path: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w") as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def captions(folder: Path) -> dict[str, str | None]:
    return {found.key: found.caption for found in find_pictures(folder)}


def keys(folder: Path) -> list[str]:
    return [found.key for found in find_pictures(folder)]


def scored(folder: Path, table: Path) -> ScoredTable:
    score_dataset(find_pictures(folder), Scorer([load_iqa_model("entropy")], "as is"), table)
    return ScoredTable.read(table)


def training_data(folder: Path, table: ScoredTable, models, home: Path) -> TrainingData:
    settings = DataSettings(resolution=64, bucket_step=8, metrics=["entropy"])
    return training_runs.encoding(folder, table, models, settings, home).data


# Captions that are missing


def test_few_captions_are_refused_with_their_number(tmp_path):
    for number in range(6):
        picture(tmp_path / f"{number}.png", "a cat" if number == 3 else None)
    with pytest.raises(ValueError) as raised:
        captioned(find_pictures(tmp_path))
    assert "Only 1 of 6 pictures have a caption, fewer than half (0.png: no 0.txt beside it; " in str(raised.value)
    assert "and 2 more). Write the others (an empty .txt file is a caption, too), or give a folder" in str(raised.value)


def test_some_missing_captions_are_said_with_the_reason(tmp_path, quickstart):
    folder = training_pictures.write(tmp_path / "photos", 6)
    (folder / "02.txt").unlink()
    (folder / "04.txt").write_bytes(bytes(range(128, 256)))
    items = training_data(folder, scored(folder, tmp_path / "t"), quickstart, tmp_path / "cache").items
    assert [item.key for item in items.pictures] == ["00.png", "01.png", "03.png", "05.png"]
    assert items.notes == [
        "2 of 6 pictures have no caption and are left out: 02.png: no 02.txt beside it; 04.png: 04.txt is neither "
        "UTF-8 nor UTF-16; save it as UTF-8."
    ]


def test_an_empty_text_is_a_caption(tmp_path):
    picture(tmp_path / "0.png", "")
    assert captioned(find_pictures(tmp_path))[1] == []


# Values


@pytest.mark.parametrize("name", ["grey.png", "grey.tif", "grey.pgm.png"])
def test_grey_of_16_bits_keeps_its_values(tmp_path, name):
    ramp = np.linspace(0, 0.99 * 65535, 64 * 64).reshape(64, 64).astype(np.uint16)
    Image.fromarray(ramp).save(tmp_path / name, "PPM" if ".pgm" in name else None)
    pixels = read_picture(tmp_path / name)
    assert pixels.shape == (64, 64, 3) and pixels.mean().item() == pytest.approx(0.495, abs=1e-3)
    assert torch.allclose(pixels[..., 1], torch.from_numpy(ramp.astype(np.float32) / 65535), atol=1e-6)


def test_float_tiff_keeps_its_values(tmp_path):
    ramp = np.linspace(0, 0.99, 64 * 64).reshape(64, 64).astype(np.float32)
    Image.fromarray(ramp).save(tmp_path / "float.tif")
    assert torch.allclose(read_picture(tmp_path / "float.tif")[..., 0], torch.from_numpy(ramp))


@pytest.mark.parametrize("values", [np.array([[0, 255]], np.float32), np.array([[0, np.nan]], np.float32),
                                    np.array([[0, 7]], np.int32)])  # fmt: skip
def test_pictures_whose_white_nobody_knows_are_named(tmp_path, values):
    Image.fromarray(values).save(tmp_path / "deep.tif")
    with pytest.raises(UnreadablePicture, match=r"deep.tif: its values.* convert it to"):
        find_pictures(tmp_path)[0].read()


def test_white_is_zero_and_a_clear_grey(tmp_path):
    grey = Image.fromarray(np.array([[0, 65535]], np.uint16))
    grey.save(tmp_path / "inverse.tif", tiffinfo={262: 0})
    assert read_picture(tmp_path / "inverse.tif")[0, :, 0].tolist() == [1, 0]
    grey.save(tmp_path / "clear.png", transparency=0)
    assert read_picture(tmp_path / "clear.png")[0, :, 0].tolist() == [1, 1]


# Text


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "latin-1"])
def test_captions_in_several_encodings(tmp_path, encoding):
    picture(tmp_path / "0.png", SENTENCE.encode(encoding))
    assert captions(tmp_path) == {"0.png": SENTENCE}
    (tmp_path / "0.txt").unlink()
    line = json.dumps({"file_name": "0.png", "text": SENTENCE}, ensure_ascii=False)
    (tmp_path / "metadata.jsonl").write_bytes(line.encode(encoding))
    assert captions(tmp_path) == {"0.png": SENTENCE}


@pytest.mark.parametrize("text", ["café", "à la carte", "señor niño", "“quoted” – 5°", "naïve, déjà vu"])
def test_short_western_texts(text):
    assert decode_text(text.encode("cp1252")) == text


@pytest.mark.parametrize("text, encoding", [
    ("\u0440\u044b\u0436\u0438\u0439", "cp1251"), ("\u043a\u043e\u0442", "koi8-r"),
    ("\u4e00\u53ea\u72d7", "gbk"), ("\u72d7", "gbk"), ("\u8d64\u3044\u82b1", "shift-jis"),
    ("\uace0\uc591\uc774", "euc-kr"), ("ma\u0142y", "cp1250"),
])  # fmt: skip
def test_other_scripts_are_refused_rather_than_guessed(text, encoding):
    with pytest.raises(ValueError, match="is neither UTF-8 nor UTF-16; save it as UTF-8"):
        decode_text(text.encode(encoding))


def test_line_separators_are_no_ends_of_lines(tmp_path):
    picture(tmp_path / "0.png")
    line = json.dumps({"file_name": "0.png", "text": "one\u2028two\x85three"}, ensure_ascii=False)
    (tmp_path / "metadata.jsonl").write_text(line + "\r\n", encoding="utf-8")
    assert captions(tmp_path) == {"0.png": "one\u2028two\x85three"}


@pytest.mark.parametrize("content", [encoded(), b"\xff\xfe\x00\xd8", b"\x81\x8d\x8f", b"a" * 2_000_000])
def test_texts_that_are_none_are_named_and_do_not_stop_scoring(tmp_path, content):
    folder = training_pictures.write(tmp_path / "photos", 3)
    (folder / "00.txt").write_bytes(content)
    assert len(scored(folder, tmp_path / "t").rows.keys) == 3
    kept, (note,) = captioned(find_pictures(folder))
    assert len(kept) == 2 and note.startswith("1 of 3 pictures have no caption and are left out: 00.png: 00.txt is n")


@pytest.mark.parametrize("line", ['{"name": "1.png"}', "{", "[1]", '{"file_name": "1.png", "text": {}}', "[" * 100_000,
                                  '{"file_name": "1.png", "text": "\\ud800"}'])  # fmt: skip
def test_a_line_of_metadata_that_cannot_be_understood_is_named(tmp_path, line):
    for number in range(2):
        picture(tmp_path / f"{number}.png")
    (tmp_path / "metadata.jsonl").write_text('{"file_name": "0.png", "text": "fine"}\n' + line)
    kept, (note,) = captioned(find_pictures(tmp_path))
    assert [found.caption for found in kept] == ["fine"] and "1.png: metadata.jsonl" in note


# Places and names


def test_loose_pictures_beside_shards(tmp_path):
    picture(tmp_path / "loose.png", "loose")
    tar(tmp_path / "0.tar", {"a.png": encoded(), "a.txt": b"in a shard"})
    assert captions(tmp_path) == {"0.tar/a": "in a shard", "loose.png": "loose"}


@pytest.mark.parametrize("kind", ["truncated", "empty", "noise", "compressed"])
def test_a_damaged_shard_is_listed_and_skipped(tmp_path, kind):
    folder = tmp_path / "shards"
    folder.mkdir()
    for number in range(3):
        content = tmp_path / "big.png"
        Image.effect_noise((64, 64), 50).save(content)
        tar(folder / f"{number}.tar", {f"{n}.png": content.read_bytes() for n in range(2)})
    whole = (folder / "1.tar").read_bytes()
    broken = {"truncated": whole[:4000], "empty": b"", "noise": b"noise" * 500, "compressed": b"\x1f\x8b" + whole}
    (folder / "1.tar").write_bytes(broken[kind])
    assert keys(folder) == ["0.tar/0", "0.tar/1", "2.tar/0", "2.tar/1"]
    (note,) = left_out(find_pictures(folder))
    assert note.startswith("1 of the files cannot be used and are left out: 1.tar is damaged")
    assert len(scored(folder, tmp_path / "t").rows.keys) == 4
    assert (tmp_path / "t" / "unreadable.txt").read_text().startswith("1.tar is damaged or no uncompressed .tar shard")


def test_captions_in_shards_that_cannot_be_understood(tmp_path):
    members = {f"{number}.png": encoded() for number in range(5)}
    texts = {"0.txt": SENTENCE.encode("latin-1"), "1.json": b"[1]", "2.json": b"{", "3.caption": b"a", "4.txt": b"\x81"}
    tar(tmp_path / "0.tar", members | texts)
    found = find_pictures(tmp_path)
    assert [one.caption for one in found] == [SENTENCE, None, None, "a", None]
    assert [one.uncaptioned.partition(" ")[0] for one in found] == ["", "no", "2.json", "", "4.txt"]


def test_pictures_in_shards_that_webdataset_would_not_take_are_said(tmp_path):
    names = ["a.png", "a.mask.png", "b.1.png", "._c.png", "__MACOSX/d.png", "./e.png"]
    tar(tmp_path / "0.tar", dict.fromkeys(names, encoded()))
    found = find_pictures(tmp_path)
    assert [one.key for one in found] == ["0.tar/a", "0.tar/e"]
    assert found.left_out == [
        "0.tar: 1 pictures with several dots in their names, which WebDataset cuts at the first, b.1.png among them"
    ]


@pytest.mark.parametrize("name, content", [
    ("0.caption", "a cat"),
    ("0.json", '{"caption": "a cat"}'),
    ("metadata.csv", "file_name,text\n0.png,a cat\n"),
    ("metadata.csv", 'file_name;caption\r\n0.png;"a cat"\r\n'),
    ("metadata.tsv", "file_name\tprompt\n0.png\ta cat"),
    ("metadata.jsonl", '{"file_name": "0.png", "prompt": "a cat"}'),
    ("metadata.jsonl", '{"file_name": "./0.png", "caption": ["a cat", "an animal"]}'),
    ("metadata.jsonl", '{"image": "0.png", "text": null, "caption": "a cat"}'),
])  # fmt: skip
def test_captions_beside_pictures_and_in_tables(tmp_path, name, content):
    picture(tmp_path / "0.png")
    (tmp_path / name).write_text(content)
    assert captions(tmp_path) == {"0.png": "a cat"}


def test_back_slashes_and_decomposed_accents_in_tables(tmp_path):
    picture(tmp_path / "below" / "0.png")
    picture(tmp_path / "cafe\u0301.png")  # as macOS writes it
    lines = [{"file_name": "below\\0.png", "text": "one"}, {"file_name": "café.png", "text": "two"}]
    (tmp_path / "metadata.jsonl").write_text("\n".join(map(json.dumps, lines)))
    assert captions(tmp_path) == {"below/0.png": "one", "cafe\u0301.png": "two"}


@pytest.mark.parametrize("name, kind", [("0.gif", "GIF"), ("0.jfif", "JPEG"), ("0.jpe", "JPEG"), ("0.avif", "AVIF")])
def test_further_kinds_of_files(tmp_path, name, kind):
    if kind == "AVIF" and not features.check("avif"):
        pytest.skip("this Pillow reads no AVIF")
    (tmp_path / name).write_bytes(encoded(kind))
    pixels = find_pictures(tmp_path)[0].read()
    assert torch.allclose(pixels.mean((0, 1)) * 255, torch.tensor([40.0, 100, 200]), atol=4)


def test_of_animations_the_first_frame(tmp_path):
    frames = [Image.new("RGB", (8, 6), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "0.gif", save_all=True, append_images=frames[1:])
    assert find_pictures(tmp_path)[0].read()[0, 0].tolist() == [1, 0, 0]


@pytest.mark.parametrize("name, content, message", [
    ("0.jxl", b"\xff\x0a" + bytes(50), "JPEG XL, which this Pillow cannot read; pip install pillow-jxl-plugin"),
    ("0.heic", bytes(4) + b"ftypheic" + bytes(50), "HEIC, which this Pillow cannot read; pip install pillow-heif"),
])  # fmt: skip
def test_kinds_that_pillow_lacks_are_named(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UnreadablePicture, match=f"{name}: it is {message}, or convert it"):
        find_pictures(tmp_path)[0].read()


def test_links_to_folders_are_followed_and_loops_end(tmp_path):
    picture(tmp_path / "set" / "real" / "0.png")
    picture(tmp_path / "elsewhere" / "1.png", "linked")
    picture(tmp_path / "2.png")
    links = {"a": "real", "out": "../elsewhere", "self": ".", "up": "..", "x": "x", "gone.png": "no"}
    for name, target in links.items():
        (tmp_path / "set" / name).symlink_to(target)
    (tmp_path / "elsewhere" / "back").symlink_to(tmp_path / "set")
    found = find_pictures(tmp_path / "set")
    assert [(one.key, one.caption) for one in found] == [("out/1.png", "linked"), ("real/0.png", None)]
    assert found.left_out == ["gone.png: a link to nothing", "x: a link to nothing"]


def test_junk_is_no_picture(tmp_path):
    picture(tmp_path / "0.png", "a cat")
    for name in ("._0.png", ".ipynb_checkpoints/0.png", "__MACOSX/0.png", "@eaDir/0.png"):
        picture(tmp_path / name)
    for name in ("Thumbs.db", "desktop.ini", ".DS_Store", "._0.tar"):
        (tmp_path / name).write_bytes(b"junk")
    found = find_pictures(tmp_path)
    assert [one.key for one in found] == ["0.png"] and left_out(found) == []


def test_a_set_below_a_hidden_folder_is_a_set(tmp_path):
    picture(tmp_path / ".cache" / "0.png")
    assert keys(tmp_path / ".cache") == ["0.png"]


@pytest.mark.parametrize("name", ["a: b.png", "a\nb.png", ": .png"])
def test_unreadable_pictures_with_odd_names_do_not_stop_training(tmp_path, quickstart, name):
    folder = training_pictures.write(tmp_path / "photos", 3)
    (folder / name).write_bytes(b"no picture")
    (folder / name).with_suffix(".txt").write_text("a cat")
    table = scored(folder, tmp_path / "t")
    assert len((tmp_path / "t" / "unreadable.txt").read_text().splitlines()) == 1
    assert len(training_data(folder, table, quickstart, tmp_path / "cache").items.pictures) == 3


def test_names_that_are_not_utf8_are_named_and_skipped(tmp_path, quickstart):
    folder = training_pictures.write(tmp_path / "photos", 3)
    odd = os.path.join(os.fsencode(folder), b"caf\xe9.png")
    with open(odd, "wb") as file:
        file.write(encoded())
    tar(folder / "0.tar", {"\udce9.png": encoded(), "b.png": (folder / "00.png").read_bytes(), "b.txt": b"b"})
    found = find_pictures(folder)
    assert [one.key for one in found] == ["0.tar/b", "00.png", "01.png", "02.png"]
    assert sorted(found.left_out) == [
        r"0.tar/\xe9.png: its name is not UTF-8; rename it",
        r"caf\xe9.png: its name is not UTF-8; rename it",
    ]
    table = scored(folder, tmp_path / "t")
    assert r"caf\xe9.png: its name is not UTF-8" in (tmp_path / "t" / "unreadable.txt").read_text()
    assert len(training_data(folder, table, quickstart, tmp_path / "cache").items.pictures) == 4


@pytest.mark.parametrize("name", ["a\u202egnp.png", "line\nbreak.png", "\x1b[31mred.png", "a\u2028b.png"])
def test_names_that_would_change_what_is_shown_are_named_and_skipped(tmp_path, name):
    """Names in every script are kept, with the blanks and joiners that systems put into them."""
    kept = ["c\u202fd.png", "\u05d0\u200f.png", "\U0001f468\u200d\U0001f467.png"]
    for each in (*kept, name):
        (tmp_path / each).write_bytes(encoded())
    tar(tmp_path / "0.tar", {name: encoded(), "z.png": encoded()})
    found = find_pictures(tmp_path)
    assert {one.key for one in found} == {*kept, "0.tar/z"}
    assert len(found.left_out) == 2
    assert all("its name has control characters" in line and line.isprintable() for line in found.left_out)


@pytest.mark.parametrize("kind", ["EPS", "ICNS", "TGA", "JPEG2000"])
def test_kinds_that_no_name_stands_for_are_not_opened(tmp_path, monkeypatch, kind):
    """Pillow reads many more; EPS by a program, Ghostscript, which runs what is in the file."""
    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", lambda *_, **__: pytest.fail("a program was started"))
    Image.new("RGB", (64, 64)).save(tmp_path / "a.png", kind)
    with pytest.raises(ValueError, match="a.png: .*no picture of a kind that is read"):
        find_pictures(tmp_path)[0].read()


# Captions are plain text


@pytest.mark.parametrize("text", ["a (red) circle", "a ((red:1.5)) circle", "a ) red (", "an embedding:red circle"])
def test_captions_have_no_weights(quickstart, text):
    _, clip, _ = quickstart
    weights = [weight for part in cache.plain_tokens(clip, text).values() for chunk in part for _, weight in chunk]
    assert set(weights) == {1.0}


def test_a_caption_with_parentheses_is_not_taken_from_an_old_cache(quickstart, tmp_path):
    folder = training_pictures.write(tmp_path / "photos", 2)
    (folder / "00.txt").write_text("a (red) circle")
    made = training_data(folder, scored(folder, tmp_path / "t"), quickstart, tmp_path / "cache")
    clip = quickstart[1]
    tokens = [clip.tokenize("a (red) circle", **options) for options in ({}, {"disable_weights": True})]
    weighted, plain = (clip.encode_from_tokens_scheduled(chosen)[0][0][0] for chosen in tokens)
    old = made.items.cache.put(("text", made.items._keys.clip, "a (red) circle"), {"text": weighted})
    assert not torch.allclose(old["text"].float(), plain, atol=1e-2)
    assert torch.allclose(made.item(0)["text"].float(), plain, atol=1e-2)


def test_samples_take_weights_from_prompts_and_none_from_captions(quickstart, tmp_path):
    folder = training_pictures.write(tmp_path / "photos", 2)
    for file in folder.glob("*.txt"):
        file.write_text("a (red) circle")
    data = training_data(folder, scored(folder, tmp_path / "t"), quickstart, tmp_path / "cache")
    models, clip = Models(*quickstart), quickstart[1]
    for prompts, options in (((), {"disable_weights": True}), (("a (red) circle",), {})):
        made = Samples(models, data, SampleSettings(sample_prompts=prompts), tmp_path)
        expected = clip.encode_from_tokens_scheduled(clip.tokenize("a (red) circle", **options))
        assert torch.equal(made.positive[0][0][0], expected[0][0])


# Size


@pytest.mark.parametrize("side", [13_300, 20_000])
def test_a_picture_with_too_many_pixels_is_refused_at_once(tmp_path, side):
    assert side**2 > LARGEST
    Image.new("L", (side, 16)).save(tmp_path / "0.jpg")
    data = bytearray((tmp_path / "0.jpg").read_bytes())
    place = data.index(b"\xff\xc0") + 5  # height in the frame's header
    data[place : place + 2] = side.to_bytes(2, "big")
    (tmp_path / "0.jpg").write_bytes(data)
    begin = time.monotonic()
    with pytest.raises(UnreadablePicture, match=r"more than 110 megapixels, the most that are read; scale it down"):
        find_pictures(tmp_path)[0].read()
    assert time.monotonic() - begin < 1


# Parquet


def test_parquet_is_read_as_datasets_reads_it(tmp_path):
    folder = training_pictures.write(tmp_path / "photos", 5)
    files = sorted(folder.glob("*.png"))
    rows = {"image": [str(file) for file in files], "text": [file.with_suffix(".txt").read_text() for file in files]}
    made = datasets.Dataset.from_dict(rows).cast_column("image", datasets.Image()).with_format("arrow")
    made = made.map(datasets.table.embed_table_storage, batched=True).with_format(None)  # as push_to_hub does
    made.to_parquet(str(tmp_path / "set" / "train-00000-of-00001.parquet"), batch_size=2)
    picture(tmp_path / "set" / "loose.png", "loose")
    found = find_pictures(tmp_path / "set")
    assert [one.key for one in found] == ["loose.png"] + [f"train-00000-of-00001.parquet/{n:08d}" for n in range(5)]
    for one, file in zip(found[1:], files, strict=True):
        assert one.caption == file.with_suffix(".txt").read_text()
        assert torch.equal(one.read(), read_picture(file)) and one.content() == file.read_bytes()
    table = scored(tmp_path / "set", tmp_path / "t")
    assert set(table.rows.keys) == {one.key for one in found}


def test_other_parquet_files_are_no_pictures_and_damaged_ones_are_named(tmp_path):
    datasets.Dataset.from_dict({"key": ["0"], "caption": ["a cat"]}).to_parquet(str(tmp_path / "list.parquet"))
    paths = pyarrow.table({"image": [{"bytes": b"no picture", "path": None}, {"bytes": None, "path": "0.png"}, None]})
    parquet.write_table(paths, tmp_path / "paths.parquet")
    (tmp_path / "half.parquet").write_bytes((tmp_path / "list.parquet").read_bytes()[:200])
    picture(tmp_path / "0.png")
    table = datasets.Dataset.from_dict({"file_name": ["0.png"], "text": ["a cat"]})
    table.to_parquet(str(tmp_path / "metadata.parquet"))
    found = find_pictures(tmp_path)
    assert [one.key for one in found] == ["0.png", *(f"paths.parquet/{row:08d}" for row in range(3))]
    assert found[0].caption == "a cat"
    assert [line.partition(" (")[0] for line in found.left_out] == ["half.parquet is damaged or no Parquet"]
    for one, reason in zip(found[1:], ["cannot identify", "the row has no bytes", "the row has no bytes"], strict=True):
        with pytest.raises(UnreadablePicture, match=f"{one.key}: {reason}"):
            one.read()


def test_keys_are_those_of_earlier_versions(tmp_path):
    picture(tmp_path / "b" / "0.PNG", "one")
    tar(tmp_path / "0.tar", {"./a/b.c.txt": b"no", "./a/0.png": encoded(), "a/0.txt": b"two"})
    assert find_pictures(tmp_path)[1] == Picture("b/0.PNG", "one", tmp_path / "b" / "0.PNG")
    assert captions(tmp_path) == {"0.tar/a/0": "two", "b/0.PNG": "one"}
