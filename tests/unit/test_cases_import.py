"""Scores of others become a table: CSV, TSV, Parquet, Feather, with keys and columns as people write them."""

import json

import numpy as np
import pandas
import pytest
import training_pictures
from PIL import Image

from iqa_adapter.pictures.reading import find_pictures
from iqa_adapter.quality.statistics import cc3m_statistics
from iqa_adapter.training import score_files
from iqa_adapter.training.import_columns import parse_columns
from iqa_adapter.training.import_scores import import_scores
from iqa_adapter.training.score_files import ScoreFile
from iqa_adapter.training.table import Contents, ScoredTable

MOS = [3.5, 1.25, 4.0, 2.0]


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Four pictures, two of them in a folder below."""
    folder = training_pictures.write(tmp_path_factory.mktemp("photos"), 4)
    (folder / "sub").mkdir()
    for number in (2, 3):
        (folder / f"{number:02d}.png").rename(folder / "sub" / f"{number:02d}.png")
    return folder


NAMES = ["00.png", "01.png", "sub/02.png", "sub/03.png"]


def write(path, frame):
    if path.suffix == ".csv":
        frame.to_csv(path, index=False)
    elif path.suffix == ".tsv":
        frame.to_csv(path, index=False, sep="\t")
    elif path.suffix == ".parquet":
        frame.to_parquet(path)
    else:
        frame.to_feather(path)
    return path


def imported(photos, file, folder, *columns, **options):
    notes = import_scores(find_pictures(photos), file, columns or ("mos:higher",), folder, **options)
    return ScoredTable.read(folder), notes


def by_key(table):
    return {key: row.tolist() for key, row in zip(table.rows.keys, table.rows.values, strict=True)}


@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.parquet", "a.feather", "a.ft"])
def test_every_kind_of_file_gives_the_same_table(photos, tmp_path, name):
    frame = pandas.DataFrame({"file": NAMES, "mos": MOS, "rank": [1, 2, 3, 4], "word": list("abcd")})
    table, notes = imported(
        photos, write(tmp_path / name, frame), tmp_path / "t", "mos:higher", "rank=place:lower:aesthetic"
    )
    assert by_key(table) == {key: [mos, rank] for key, mos, rank in zip(NAMES, MOS, (1, 2, 3, 4), strict=True)}
    assert notes == [] and table.rows.sizes.tolist() == [[80, 64], [64, 80]] * 2
    first, second = table.metrics()
    assert (first.name, first.higher_is_better, first.aesthetic, first.resize) == ("mos", True, False, "")
    assert (second.name, second.higher_is_better, second.aesthetic) == ("place", False, True)
    assert first.mean == pytest.approx(np.mean(MOS)) and first.std == pytest.approx(np.std(MOS))
    assert str(table.contents) == "mos, place (imported scores)"
    assert (tmp_path / "t" / "unreadable.txt").read_text() == ""


@pytest.mark.parametrize(
    "keys",
    [
        ["00", "01", "sub/02", "sub/03"],
        ["00.png", "01.png", "02.png", "03.png"],
        ["00", "01", "02", "03"],
        ["00.PNG", "./01.png", "sub\\02.png", " 03 "],
        ["C:\\data\\photos\\00.png", "C:\\data\\photos\\01.png", "C:\\data\\photos\\sub\\02.png",
         "C:\\data\\photos\\sub\\03.png"],
        ["/data/photos/00", "/data/photos/01", "/data/photos/sub/02", "/data/photos/sub/03"],
    ],
    ids=["no ending", "no folder", "neither", "mixed", "windows", "absolute"],
)  # fmt: skip
def test_keys_name_pictures_as_people_write_them(photos, tmp_path, keys):
    file = write(tmp_path / "a.csv", pandas.DataFrame({"file": keys, "mos": MOS}))
    table, notes = imported(photos, file, tmp_path / "t")
    assert by_key(table) == {key: [mos] for key, mos in zip(NAMES, MOS, strict=True)} and notes == []


def test_what_has_no_counterpart_is_counted(photos, tmp_path):
    frame = pandas.DataFrame({"file": ["x.png", "00.jpg", *NAMES[1:3]], "mos": MOS})
    table, notes = imported(photos, write(tmp_path / "a.csv", frame), tmp_path / "t")
    assert by_key(table) == {"01.png": [4.0], "sub/02.png": [2.0]}
    assert notes == [
        "2 of 4 rows of a.csv are of no picture that is here, x.png among them.",
        "2 of 4 pictures have no row in a.csv and are left out, 00.png among them.",
    ]
    lines = (tmp_path / "t" / "unreadable.txt").read_text().splitlines()
    assert lines == ["00.png: a.csv has no row for it", "sub/03.png: a.csv has no row for it"]


def test_keys_that_may_mean_several_pictures_are_refused(tmp_path):
    for folder in ("a", "b"):
        training_pictures.write(tmp_path / "photos" / folder, 2)
    file = tmp_path / "m.csv"
    file.write_text("file,mos\n00.png,1\n01.png,2\n")
    with pytest.raises(ValueError, match=r"^00.png in the column file may mean a/00.png or b/00.png. Write whole"):
        imported(tmp_path / "photos", file, tmp_path / "t")
    file.write_text("file,mos\na/00.png,1\na/01.png,2\nb/00,3\n")
    table, _ = imported(tmp_path / "photos", file, tmp_path / "t")
    assert by_key(table) == {"a/00.png": [1], "a/01.png": [2], "b/00.png": [3]}
    file.write_text("file,mos\n/p/a/00.png,1\n/p/a/01.png,2\n/p/b/00.png,3\n/p/00.png,9\n")
    (tmp_path / "photos" / "a" / "00.png").rename(tmp_path / "photos" / "00.png")
    table, _ = imported(tmp_path / "photos", file, tmp_path / "t")
    assert by_key(table) == {"00.png": [9], "a/01.png": [2], "b/00.png": [3]}


def test_several_rows_of_a_picture_must_say_the_same(photos, tmp_path):
    file = tmp_path / "m.csv"
    file.write_text("file,mos\n00.png,1\n01.png,2\n00.png,1\n")
    assert by_key(imported(photos, file, tmp_path / "t")[0]) == {"00.png": [1], "01.png": [2]}
    file.write_text("file,mos\n00.png,1\n01.png,2\n00,3\n")
    with pytest.raises(ValueError, match=r"00.png has several rows that do not say the same \(00.png, row 1, and 00, "):
        imported(photos, file, tmp_path / "t")


def test_text_files_as_programs_write_them(photos, tmp_path):
    file = tmp_path / "m.csv"
    cases = {
        "utf-8-sig": "file,mos\n00.png,3.5\n01.png,\n",
        "utf-16": "file\tmos\n00.png\t3.5\n01.png\tNaN\n",
        "utf-8": ' file ; mos \r\n"00.png";3,5\r\n01.png;n/a\r\n',
    }
    for encoding, text in cases.items():
        file.write_bytes(text.encode(encoding))
        table, _ = imported(photos, file, tmp_path / "t")
        assert table.rows.values[0].tolist() == [3.5] and table.rows.values[1].isnan().all(), encoding
    assert "01.png: mos has no answer for it (NaN)" in (tmp_path / "t" / "unreadable.txt").read_text()


def test_the_papers_files(photos, tmp_path):
    known = cc3m_statistics()
    frame = pandas.DataFrame({"image_file": ["00", "01", "02", "03"], "topiq_nr_normalized": [-1.0, 0.0, 1.0, 2.0],
                              "laion_aes_normalized": [0.0, 0.5, 1.0, 1.5], "niqe_normalized": MOS})  # fmt: skip
    file = write(tmp_path / "cc3m.ft", frame)
    for columns in (["topiq_nr", "laion_aes"], ["topiq_nr_normalized", "laion_aes_normalized:higher:aesthetic"]):
        table, notes = imported(photos, file, tmp_path / "t", *columns, key="image_file")
        quality, aesthetic = table.metrics()
        assert table.contents.models == ("topiq_nr", "laion_aes") and quality.resize == "512"
        assert quality.z_score(table.rows.values[0, 0].item()) != -1 and len(notes) == 2
        raw = [known["topiq_nr"].z_score(value) for value in table.rows.values[:, 0].tolist()]
        assert raw == pytest.approx([-1, 0, 1, 2], abs=1e-4)
        assert aesthetic.aesthetic and not quality.aesthetic
    table, notes = imported(photos, file, tmp_path / "t", "topiq_nr_normalized=own:higher", "niqe_normalized")
    assert table.rows.values[:, 0].tolist() == [-1, 0, 1, 2] and notes == []
    assert not table.metrics(("niqe_normalized",))[0].higher_is_better


def test_damaged_pictures_are_left_out(tmp_path):
    photos = training_pictures.write(tmp_path / "photos", 3)
    whole = (photos / "01.png").read_bytes()
    (photos / "01.png").write_bytes(whole[: len(whole) // 2])
    file = write(tmp_path / "a.csv", pandas.DataFrame({"file": ["00", "01", "02"], "mos": MOS[:3]}))
    table, notes = imported(photos, file, tmp_path / "t")
    assert table.rows.keys == ["00.png", "02.png"] and "1 pictures cannot be read and are left out, 01.png" in notes[0]
    assert (tmp_path / "t" / "unreadable.txt").read_text().startswith("01.png: ")


def test_imported_tables_are_replaced_and_others_kept(photos, tmp_path):
    file = write(tmp_path / "a.csv", pandas.DataFrame({"file": NAMES, "mos": MOS}))
    imported(photos, file, tmp_path / "t")
    write(file, pandas.DataFrame({"file": NAMES[:2], "hps": MOS[:2]}))
    table, _ = imported(photos, file, tmp_path / "t", "hps:higher")
    assert by_key(table) == {"00.png": [3.5], "01.png": [1.25]}
    Contents("score", ("piqe",), "512").write(tmp_path / "other")
    with pytest.raises(ValueError, match=r"already holds a table of piqe \(score, resize 512\), not of mos \(imported"):
        imported(photos, write(file, pandas.DataFrame({"file": NAMES, "mos": MOS})), tmp_path / "other")
    with pytest.raises(ValueError, match="already holds a table of hps"):
        Contents("score", ("hps",), "").write(tmp_path / "t")


@pytest.mark.parametrize(
    "columns, message",
    [
        (["mos"], "mos is no metric that this pack knows, so say whether .*: mos:higher or mos:lower"),
        (["moss:higher"], r"a.csv has no column moss; it has file, mos, word, niqe, time. Did you mean mos\?"),
        (["mos:best"], "mos:best: best is neither higher nor lower, technical nor aesthetic"),
        (["mos:higher", "mos:higher"], "mos is imported twice"),
        (["word:higher"], "has 'a' in row 1 of its column word, which is no number"),
        (["niqe:higher"], "niqe is known as a metric whose lower scores are better, technical. .* niqe=my_niqe:higher"),
        (["time:higher"], "time cannot be the name of a metric, for the table needs that name itself"),
        (["mos=my mos:higher"], "my mos cannot be the name of a metric, for names have no blanks"),
    ],
)
def test_wrong_columns_end_in_one_sentence(photos, tmp_path, columns, message):
    frame = pandas.DataFrame({"file": NAMES, "mos": MOS, "word": list("abcd"), "niqe": MOS, "time": MOS})
    file = write(tmp_path / "a.csv", frame)
    with pytest.raises(ValueError, match=message) as raised:
        imported(photos, file, tmp_path / "t", *columns)
    assert "\n" not in str(raised.value) and not (tmp_path / "t").exists()


@pytest.mark.parametrize(
    "name, content, message",
    [
        ("a.csv", b"", "no rows below its head"),
        ("a.csv", b"\xff\xd8\xff\xe0\0\1", "is no table that can be read: it is"),
        ("a.parquet", b"PAR1 and more PAR1", "is truncated or damaged"),
        ("a.feather", b"ARROW1\0\0 and more", "is truncated or damaged"),
        (
            "a.csv",
            b"name_of_it,mos\n00.png,1\n",
            "has no column file_name, .*; say with --key which .*: name_of_it, mos",
        ),
        (
            "a.csv",
            b"file,mos\nx,1\ny,2\n",
            "None of the 2 rows of a.csv names one of the 4 pictures: .* with 'x', .*'00",
        ),
    ],
)
def test_wrong_files_end_in_one_sentence(photos, tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=message) as raised:
        imported(photos, tmp_path / name, tmp_path / "t")
    assert "\n" not in str(raised.value) and not (tmp_path / "t").exists()


def test_cut_files_end_in_one_sentence(photos, tmp_path):
    frame = pandas.DataFrame({"file": NAMES * 100, "mos": MOS * 100})
    for name in ("a.parquet", "a.feather"):
        file = write(tmp_path / name, frame)
        file.write_bytes(file.read_bytes()[:-50])
        with pytest.raises(ValueError, match=f"{name} is truncated or damaged"):
            imported(photos, file, tmp_path / "t")


@pytest.mark.parametrize("name", ["a.parquet", "a.feather"])
def test_files_that_unfold_without_end_are_refused(photos, tmp_path, name, monkeypatch):
    monkeypatch.setattr(score_files, "ROOM", 2**20)
    frame = pandas.DataFrame({"file": ["x"] * 1_000_000, "mos": np.zeros(1_000_000)})
    file = tmp_path / name
    if name == "a.parquet":
        frame.to_parquet(file)
    else:
        frame.to_feather(file, compression="zstd")
    with pytest.raises(ValueError, match=f"{name} unfolds to .* bytes"):
        imported(photos, file, tmp_path / "t")


def test_columns_of_any_name_can_be_chosen(tmp_path):
    file = write(tmp_path / "a.csv", pandas.DataFrame({"file": ["a"], "MOS: mean=x": [1.0], "a:b": [1.0]}))
    opened = ScoreFile(file)
    found = parse_columns(["MOS: mean=x=mos:lower:aesthetic", "a:b=ab:higher"], opened)
    assert [(column.source, column.name) for column in found] == [("MOS: mean=x", "mos"), ("a:b", "ab")]
    assert found[0].meaning == {"higher_is_better": False, "aesthetic": True}


def test_whole_numbers_are_keys(tmp_path):
    for number in (7, 12):
        Image.new("RGB", (8, 8), (number, 0, 0)).save(tmp_path / f"{number}.png")
    frame = pandas.DataFrame({"id": [7, 12, None], "mos": [1.0, 2.0, 3.0]})
    for name in ("a.csv", "a.parquet"):
        table, _ = imported(tmp_path, write(tmp_path.parent / name, frame), tmp_path.parent / "t", key="id")
        assert by_key(table) == {"7.png": [1.0], "12.png": [2.0]}
    assert json.loads((tmp_path.parent / "t" / "table.json").read_text())["imported"]["mos"]["higher_is_better"]
