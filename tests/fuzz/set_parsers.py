"""Parsers of sets: tables of scores, and pictures with captions. Each is read as a node reads it."""

from __future__ import annotations

import io
import json
import os
import tarfile
from functools import cache
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow
import pyarrow.parquet as parquet
import torch
from PIL import Image

from iqa_adapter.pictures import index, index_layout
from iqa_adapter.pictures.found import captions, keys, places
from iqa_adapter.pictures.pixels import decode, open_image
from iqa_adapter.pictures.reading import Found, Picture, find_pictures
from iqa_adapter.printable import fault
from iqa_adapter.training import table, table_statistics, unreadable
from iqa_adapter.training.import_columns import parse_columns
from iqa_adapter.training.import_keys import match_keys
from iqa_adapter.training.import_scores import _contents, _key_column, _notes
from iqa_adapter.training.score_files import ScoreFile
from iqa_adapter.training.unreadable import SEEN_UNREADABLE, UNREADABLE

from .mutations import json_text, lines, safetensors_file
from .other_mutations import picture, shard
from .other_mutations import table as table_file
from .parsers import Parser, is_json, is_safetensors, is_table, is_text
from .trial import MB

CAPTIONS = {"file_name": ["a.png", "b.png"], "text": ["a cat", "a dog"]}
SCORES = {"image": ["a.png", "b.png", "c.png"], "mos": [1.5, 2.5, 3.5], "niqe": [1, 2, 3]}
CSV = "image,mos,niqe\na.png,1.5,1\nb.png,2.5,2\nc.png,3.5,3"
CAPTIONED = "file_name,text\na.png,a cat\nb.png,a dog"
CSV_LINES = ("a.png;1,5", '"', '"a\nb"', "a" * 140_000, "," * 5000, "a,b,c,d,e,f", "\t", "sep=;")
JSONL = '{"file_name": "a.png", "text": "a cat"}\n{"file_name": "b.png", "caption": ["a dog"]}\n'
JSONL_LINES = ('{"file_name": 1, "text": 1}', "[" * 20_000, "null", '{"text": "\\ud800"}', '{"file_name": "../a.png"}')
LISTED = "b.png: is too small\nbroken.png: cannot identify image file\n"


def _png() -> bytes:
    with TemporaryDirectory() as folder:
        Image.fromarray(np.arange(48, dtype=np.uint8).reshape(4, 4, 3)).save(Path(folder, "a.png"))
        return Path(folder, "a.png").read_bytes()


PNG = _png()
PHOTOS = {"a.png": PNG, "b.png": PNG}


def _table(kind: str) -> dict[str, bytes]:
    """The files of a table."""
    with TemporaryDirectory() as folder:
        place = Path(folder)
        where = ("", "") if kind == "score" else ("layer", "mean")
        contents = table.Contents(kind, ("piqe", "entropy") if kind == "score" else ("cnniqa",), "512", *where)
        contents.write(place)
        values = torch.rand(3, 2, generator=torch.Generator().manual_seed(0))
        table.Rows(["a.png", "b.png", "c.png"], torch.tensor([[8, 9]] * 3), values).write(place, 0, contents)
        table.measure(place)
        return {path.name: path.read_bytes() for path in place.iterdir()}


SCORED, ACTIVATIONS = _table("score"), _table("reference")
ROWS = {"key": ["a", "b", "c"], "width": [8] * 3, "height": [9] * 3, "piqe": [0.1, 0.2, 0.3],
        "entropy": [1.0, 2.0, 3.0], "bytes": [1, 2, 3], "offset": [0] * 3, "time": [10**18] * 3,
        "digest": ["00"] * 3}  # fmt: skip
SEEN = {"key": ["b.png"], "bytes": [1], "offset": [0], "time": [1], "digest": ["00"]}


def read_table(path: Path) -> None:
    read = table.ScoredTable.read(path.parent)
    if path.suffix == ".parquet":
        table.keys(path.parent)
    if read.contents.kind == "score":
        read.metrics()


def read_statistics(path: Path) -> None:
    """Beside rows that are read once."""
    contents, rows = _rows(path.parent)
    found = table_statistics.read(path.parent, contents, rows)
    if found is not None and contents.kind == "score":
        table.ScoredTable(path.parent, contents, rows, found).metrics()


@cache
def _rows(folder: Path) -> tuple[table.Contents, table.Rows]:
    contents = table.Contents.read(folder)
    return contents, table.Rows.read(folder / "000000.parquet", contents)


SCORED_PICTURES = [Picture(f"{name}.png", None, Path(f"{name}.png")) for name in "abc"]


def read_scores(path: Path) -> None:
    """As an import does, but for the pictures."""
    file = ScoreFile(path)
    columns, key = parse_columns(["mos:higher", "niqe"], file), _key_column(file)
    _contents(columns, "")
    keys, values = file.keys(key), np.stack([column.values(file) for column in columns], 1)
    rows = match_keys(keys, SCORED_PICTURES, values, key, file.path.name)
    _notes(file, key, keys, rows, SCORED_PICTURES)


def read_listed(path: Path) -> None:
    pictures = find_pictures(path.parent / "photos")
    unreadable.still_unreadable(path.parent, pictures)


TIME = 10**18  # of the shard of which an index is


def _shard() -> tuple[bytes, list[int]]:
    """With two pictures, and where they begin."""
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode="w") as archive:
        for name in ("a.png", "b.png"):
            member = tarfile.TarInfo(name)
            member.size = len(PNG)
            archive.addfile(member, io.BytesIO(PNG))
    with tarfile.open(fileobj=io.BytesIO(output.getvalue())) as archive:
        return output.getvalue(), [member.offset_data for member in archive]


SHARD, OFFSETS = _shard()
INDEX = {"key": ["some.tar/a", "some.tar/b"], "caption": ["a cat", None], "captioned": [True, False], "shard": [0, 0],
         "offset": OFFSETS, "size": [len(PNG)] * 2, "uncaptioned": [None, "has none"]}  # fmt: skip
INDEX_TYPES = {
    name: getattr(pyarrow, "bool_" if kind == "bool" else kind)() for name, kind in index_layout.COLUMNS.items()
}
KNOWN = {"version": 1, "shards": [["some.tar", len(SHARD), TIME]], "problems": [[], []]}
PLACES = (0, 1, -1, 2, 511, len(SHARD), 2**31 - 1, -(2**31), 2**40, -(2**62), 2**63 - 1)


def index_file(rng: Random) -> bytes:
    """Columns of another type, other numbers, or other metadata; or texts that unfold to a gigabyte."""
    what, columns = rng.randrange(20), {name: list(values) for name, values in INDEX.items()}
    if what == 0:
        return _long_texts()
    for _ in range(rng.choice((1, 1, 2)) if what < 8 else 0):
        name = rng.choice(("shard", "offset", "size"))
        least, most = (-(2**31), 2**31 - 1) if name == "shard" else (-(2**63), 2**63 - 1)
        columns[name][rng.randrange(2)] = max(least, min(most, rng.choice(PLACES)))
    known = json.dumps(KNOWN).encode() if what < 14 else json_text(rng, KNOWN)
    return table_file(rng, columns, kinds=INDEX_TYPES, metadata={index_layout.MARK: known})


@cache
def _long_texts() -> bytes:
    count, output = 1000, io.BytesIO()
    columns = {name: values[:1] * count for name, values in INDEX.items()}
    columns |= {"key": ["a" * 10**6] * count}
    made = pyarrow.table({name: pyarrow.array(values, INDEX_TYPES[name]) for name, values in columns.items()})
    made = made.replace_schema_metadata({index_layout.MARK: json.dumps(KNOWN)})
    parquet.write_table(made, output, 1024, compression="zstd", use_dictionary=["key"], dictionary_pagesize_limit=2**24)
    return output.getvalue()


def read_index(path: Path) -> None:
    """An index is refused, or used for the set in whose folder it is."""
    os.utime(path.parent / "some.tar", ns=(TIME, TIME))
    index.Index(path, path.parent)
    found = read_pictures(path)
    for column in (keys, captions):
        list(column(found))
    places(found)


def read_pictures(path: Path) -> Found:
    """All that can be found, with their bytes, as far as these can be read."""
    found = find_pictures(path.parent)
    for one in found:
        if problem := fault(one.key):
            raise RuntimeError(f"{one.key!r} is listed, though {problem}")
        try:
            one.read()
        except ValueError as error:
            if one.key not in str(error):
                raise RuntimeError(f"{error} does not name {one.key}") from error
    return found


def is_tar(data: bytes) -> bool:
    return data[257:262] == b"ustar"


def is_picture(data: bytes) -> bool:
    try:
        open_image(data)
    except ValueError:
        return False
    return True


def decoded(path: Path) -> None:
    decode(path.read_bytes())


def in_shard(rng: Random) -> bytes:
    members = {"a.png": PNG, "a.txt": b"a cat", "b.png": PNG, "b.json": b'{"text": "a dog"}', "c.d.png": PNG}
    return shard(rng, members)


def in_parquet(rng: Random) -> bytes:
    images = [{"bytes": PNG, "path": "a.png"}, {"bytes": PNG, "path": None}] if rng.random() < 0.7 else [PNG, PNG]
    return table_file(rng, {"image": images, "text": ["a cat", "a dog"], "label": [1, 2]})


def changed(name: str, table: dict[str, bytes]):
    """Makes other texts of a JSON file of a table."""
    return lambda rng: json_text(rng, json.loads(table[name]))


def features_file(rng: Random) -> bytes:
    return safetensors_file(rng, {"features": torch.ones(3, 2).half()}, {})


def _seen() -> bytes:
    """What the list of unreadable pictures knows of them."""
    output = io.BytesIO()
    parquet.write_table(pyarrow.table(SEEN), output)
    return output.getvalue()


STATED, COLUMNS = ("statistics.json", "Scoring of", "The scores of"), ("mos", "niqe")
SETS = [
    Parser("rows of scores", "000000.parquet", lambda rng: table_file(rng, ROWS), read_table, is_table, SCORED,
           named=("000000.parquet", "Scoring of", "The scores of")),
    Parser("rows of activations", "000000.safetensors", features_file, read_table, is_safetensors, ACTIVATIONS,
           named=("000000.", "Scoring of")),
    Parser("statistics", "statistics.json", changed("statistics.json", SCORED), read_statistics, is_json, SCORED,
           named=STATED),
    Parser("statistics of activations", "statistics.json", changed("statistics.json", ACTIVATIONS), read_statistics,
           is_json, ACTIVATIONS, named=STATED),
    Parser("contents of a table", "table.json", changed("table.json", SCORED), read_table, is_json, SCORED,
           named=("table.json", "contents of a table", "000000.parquet")),
    Parser("unreadable pictures", "unreadable.parquet", lambda rng: table_file(rng, SEEN), read_listed, is_table,
           {"unreadable.txt": LISTED.encode(), "photos/a.png": PNG, "photos/b.png": PNG}),
    Parser("scores as text", "scores.csv", lambda rng: lines(rng, CSV, CSV_LINES), read_scores, is_text,
           named=("scores.csv", *COLUMNS)),
    Parser("scores as Parquet", "scores.parquet", lambda rng: table_file(rng, SCORES), read_scores, is_table,
           named=("scores.parquet", *COLUMNS)),
    Parser("scores as Feather", "scores.feather", lambda rng: table_file(rng, SCORES, ".feather"), read_scores,
           is_table, named=("scores.feather", *COLUMNS)),
    Parser("captions in JSON lines", "metadata.jsonl", lambda rng: lines(rng, JSONL, JSONL_LINES), read_pictures,
           is_text, PHOTOS),
    Parser("captions in CSV", "metadata.csv", lambda rng: lines(rng, CAPTIONED, CSV_LINES), read_pictures, is_text,
           PHOTOS),
    Parser("captions in Parquet", "metadata.parquet", lambda rng: table_file(rng, CAPTIONS), read_pictures, is_table,
           PHOTOS),
    Parser("caption", "a.json", lambda rng: json_text(rng, {"text": "a cat", "caption": ["b"]}), read_pictures, is_json,
           PHOTOS),
    Parser("index of a set", index.NAME, index_file, read_index, is_table, {"some.tar": SHARD}),
    Parser("list of unreadable pictures", UNREADABLE, lambda rng: lines(rng, LISTED, ("b.png: ", ": ")), read_listed,
           lambda data: b": " in data, {SEEN_UNREADABLE: _seen(), "photos/a.png": PNG, "photos/b.png": PNG}),
    Parser("shard", "some.tar", in_shard, read_pictures, is_tar, {"z.png": PNG}),
    Parser("pictures in Parquet", "some.parquet", in_parquet, read_pictures, is_table, {"z.png": PNG},
           room=1100 * MB),
    Parser("picture", "some.png", picture, decoded, is_picture, named=("",), room=1500 * MB),
]  # fmt: skip
