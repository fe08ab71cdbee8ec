"""Pictures and captions from folders and shards, as the usual libraries see them."""

import json

import datasets
import pytest
import torch
import webdataset
from PIL import Image

from iqa_adapter.pictures import reading as pictures


def colour(name):
    return (int(name) * 40, 100, 200)


def write_pictures(folder, count=3, caption=True):
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        Image.new("RGB", (8 + number, 6), colour(number)).save(folder / f"{number}.png")
        if caption:
            (folder / f"{number}.txt").write_text(f"picture {number}\n")
    return folder


def write_shards(folder):
    folder.mkdir(exist_ok=True)
    for shard in range(2):
        with webdataset.TarWriter(str(folder / f"{shard:05d}.tar")) as writer:
            for number in range(3):
                image = Image.new("RGB", (8 + number, 6), colour(number))
                caption = {"txt": f"picture {number}"} if shard else {"json": {"caption": f"picture {number}"}}
                writer.write({"__key__": f"a/{shard}{number}", "png": image, **caption})
    return folder


def test_folder_with_text_files(tmp_path):
    write_pictures(tmp_path)
    write_pictures(tmp_path / "more", count=1, caption=False)
    found = pictures.find_pictures(tmp_path)
    assert [(p.key, p.caption) for p in found] == [
        ("0.png", "picture 0"), ("1.png", "picture 1"), ("2.png", "picture 2"), ("more/0.png", None),
    ]  # fmt: skip
    assert len(pictures.captioned(found)[0]) == 3
    assert found[1].read().shape == (6, 9, 3)
    assert torch.equal((found[1].read()[0, 0] * 255).int(), torch.tensor(colour(1), dtype=torch.int32))


def test_folder_with_metadata_is_read_as_imagefolder_reads_it(tmp_path):
    write_pictures(tmp_path / "train", caption=False)
    lines = [json.dumps({"file_name": f"{number}.png", "text": f"picture {number}"}) for number in range(3)]
    (tmp_path / "train" / "metadata.jsonl").write_text("\n".join(lines))
    reference = datasets.load_dataset("imagefolder", data_dir=str(tmp_path), split="train")
    expected = {(row["text"], row["image"].size) for row in reference}
    assert {(p.caption, tuple(p.read().shape[1::-1])) for p in pictures.find_pictures(tmp_path)} == expected


def test_shards_are_read_as_webdataset_reads_them(tmp_path):
    write_shards(tmp_path)
    found = pictures.find_pictures(tmp_path)
    assert [p.key for p in found][:2] == ["00000.tar/a/00", "00000.tar/a/01"] and len(found) == 6
    assert {p.caption for p in found} == {"picture 0", "picture 1", "picture 2"}
    urls = [str(path) for path in sorted(tmp_path.glob("*.tar"))]
    reference = webdataset.WebDataset(urls, shardshuffle=False).decode("torchrgb")
    for picture, sample in zip(found, reference, strict=True):
        assert picture.key.endswith(sample["__key__"])
        assert torch.allclose(picture.read().movedim(-1, 0), sample["png"])
    single = pictures.find_pictures(tmp_path / "00001.tar")
    assert [p.key for p in single] == [p.key for p in found[3:]]


def test_transparency_is_seen_on_white_and_photos_are_turned(tmp_path):
    Image.new("RGBA", (4, 4), (255, 0, 0, 0)).save(tmp_path / "clear.png")
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees
    Image.new("RGB", (8, 4)).save(tmp_path / "turned.jpg", exif=exif)
    clear, turned = pictures.find_pictures(tmp_path)
    assert (clear.read() == 1).all()
    assert turned.read().shape == (8, 4, 3)


def test_bad_input_ends_in_one_sentence(tmp_path):
    with pytest.raises(FileNotFoundError, match="There is no .*; give a folder"):
        pictures.find_pictures(tmp_path / "nothing")
    with pytest.raises(ValueError, match="holds no pictures"):
        pictures.find_pictures(tmp_path)
    folder = write_pictures(tmp_path / "bare", caption=False)
    with pytest.raises(ValueError, match=r"None of the 3 pictures has a caption. Put the text for 0.png into"):
        pictures.captioned(pictures.find_pictures(folder))
    (folder / "metadata.jsonl").write_text('{"file_name": "0.png", "text": "fine"}\n{"file_name": 1.png}')
    with pytest.raises(ValueError, match=r"Only 1 of 3 .*1.png: metadata.jsonl, line 2 cannot be understood"):
        pictures.captioned(pictures.find_pictures(folder))
    (tmp_path / "half.tar").write_bytes(b"no archive")
    with pytest.raises(ValueError, match="half.tar is damaged"):
        pictures.find_pictures(tmp_path / "half.tar")


@pytest.mark.parametrize("content", [b"", b"no picture", "truncated"])
def test_damaged_pictures_say_so(tmp_path, content):
    path = write_pictures(tmp_path, 1) / "0.png"
    path.write_bytes(path.read_bytes()[:50] if content == "truncated" else content)
    with pytest.raises(pictures.UnreadablePicture, match="0.png: "):
        pictures.find_pictures(tmp_path)[0].read()
