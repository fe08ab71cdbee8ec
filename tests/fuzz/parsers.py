"""Every parser of files that may come from strangers: how a hostile file is made for it, and how it is read."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from random import Random

import comfyui_runtime

comfyui_runtime.load_pack()

import hostile_files
import torch
import yaml

from iqa_adapter.adapter import remembered
from iqa_adapter.adapter.checkpoint import load_adapter
from iqa_adapter.adapter.description import describe
from iqa_adapter.adapter.metadata import Metadata
from iqa_adapter.iqa_models import features, matlab, weights
from iqa_adapter.pictures.text import decode_text
from iqa_adapter.quickstart.weights_file import read_weights
from iqa_adapter.training import cache, checked_settings, settings, tracking

from . import good
from .mutations import json_text, lines, safetensors_file
from .other_mutations import matlab as matlab_file
from .other_mutations import table as table_file
from .torch_mutations import torch_file
from .trial import ROOM


@dataclass(frozen=True)
class Parser:
    """A parser.

    Attributes:
        name: of the parser.
        file: the name that the hostile file gets.
        make: draws a hostile file.
        read: reads it, given its path; refuses it by ValueError or OSError.
        past: whether a file gets past the first look: it is of the right kind as a whole.
        others: further files in its folder, by name.
        named: one of these is in every message; empty for the file's name.
        never_raises: what is damaged counts as absent.
        room: bytes that a reading may take beside twice the file.
    """

    name: str
    file: str
    make: Callable[[Random], bytes]
    read: Callable[[Path], object]
    past: Callable[[bytes], bool]
    others: dict[str, bytes] = field(default_factory=dict, hash=False)
    named: tuple[str, ...] = ()
    never_raises: bool = False
    room: int = ROOM

    def input(self, number: int) -> bytes:
        """The same on every machine."""
        return self.make(Random(f"{self.name} {number}"))

    def put(self, folder: Path, data: bytes) -> Path:
        """Write the file, and those beside it."""
        path = folder / self.name / self.file
        path.parent.mkdir(parents=True, exist_ok=True)
        for name, content in self.others.items():
            if not (path.parent / name).is_file():
                (path.parent / name).parent.mkdir(parents=True, exist_ok=True)
                (path.parent / name).write_bytes(content)
        path.unlink(missing_ok=True)  # what is mapped of the one before stays as it is
        path.write_bytes(data)
        return path

    def names(self, path: Path) -> tuple[str, ...]:
        return self.named or (path.name,)


# Past the first look


def is_json(data: bytes) -> bool:
    try:
        return isinstance(json.loads(data), (dict, list))
    except (ValueError, RecursionError):
        return False


def is_safetensors(data: bytes) -> bool:
    length = int.from_bytes(data[:8], "little")
    return 8 + length <= len(data) and is_json(data[8 : 8 + length])


def is_torch(data: bytes) -> bool:
    if data.startswith(hostile_files.MAGIC):
        return True
    try:
        return any(name.endswith("data.pkl") for name in zipfile.ZipFile(BytesIO(data)).namelist())
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return False


def is_tensors(data: bytes) -> bool:
    return is_torch(data) or is_safetensors(data)


def is_matlab(data: bytes) -> bool:
    return data[124:128] == b"\x00\x01IM" and len(data) > 136


def is_yaml(data: bytes) -> bool:
    try:
        return isinstance(yaml.load(data, getattr(yaml, "CSafeLoader", yaml.SafeLoader)), dict)
    except (yaml.YAMLError, ValueError, RecursionError):
        return False


def is_text(data: bytes) -> bool:
    try:
        return "\n" in decode_text(data)
    except ValueError:
        return False


def is_table(data: bytes) -> bool:
    return data[:4] == data[-4:] == b"PAR1" or (data[:6] == b"ARROW1" and data[-6:] == b"ARROW1")


# Made of


def adapter(rng: Random) -> bytes:
    return safetensors_file(rng, hostile_files.weights(), {"iqa_adapter": rng.choice(good.METADATA)})


def bare_adapter(rng: Random) -> bytes:
    if rng.random() < 0.01:
        return good.wide_adapter()
    if rng.random() < 0.2:
        return safetensors_file(rng, hostile_files.weights(), None)
    return torch_file(rng, rng.choice(good.BARE_ADAPTERS))


def iqa_weights(rng: Random) -> bytes:
    if rng.random() < 0.2:
        return safetensors_file(rng, good.WEIGHTS, {})
    wrapped = ({"params": good.WEIGHTS}, {"state_dict": good.WEIGHTS, "epoch": 3})
    return torch_file(rng, rng.choice((good.WEIGHTS, *wrapped)))


BARE = Metadata(metrics=tuple(hostile_files.METADATA["metrics"]))


def read_iqa_weights(path: Path) -> None:
    weights.state_dict(weights.read(path), path)


SETTINGS = settings.settings_yaml()


def read_settings(path: Path) -> None:
    given = checked_settings.parse_mapping(path.read_bytes(), path.name)
    settings.RunSettings.from_mapping(given, path.name)


def read_log(path: Path) -> None:
    tracking.read_losses(path.parent)
    tracking.LossLog(path.parent, 2).close()


MODELS = [
    Parser("adapter", "some.safetensors", adapter, load_adapter, is_safetensors),
    Parser("bare adapter", "some.bin", bare_adapter, lambda path: load_adapter(path, BARE), is_tensors),
    Parser("list of adapters", "some.safetensors", adapter, describe, is_safetensors, never_raises=True),
    Parser(
        "entered metrics", remembered.FILE, lambda rng: json_text(rng, {"a" * 64: "piqe, entropy"}),
        lambda path: remembered.recall(path.parent, path), is_json, never_raises=True,
    ),
    Parser("calibrations of an adapter", "some.calibration.json", lambda rng: json_text(rng, good.CALIBRATIONS),
           good.read_calibrations, is_json),
    Parser(
        "features", "some.safetensors",
        lambda rng: safetensors_file(rng, {"features": torch.ones(2, 3)}, {features.HEADER_KEY: good.SOURCE}),
        features.load_features, is_safetensors,
    ),
    Parser("weights", "some.pth", iqa_weights, read_iqa_weights, is_tensors),
    Parser(
        "torchscript", "some.pt", lambda rng: torch_file(rng, good.NESTED, script=True), read_iqa_weights, is_torch
    ),
    Parser("matlab", "some.mat", lambda rng: matlab_file(rng, rng.choice(good.matlab_files())), matlab.read_matlab,
           is_matlab),
    Parser(
        "quickstart weights", "some.safetensors",
        lambda rng: safetensors_file(rng, good.QUICKSTART, {"quickstart": {"steps": 1}}), read_weights, is_safetensors,
    ),
    Parser(
        "cache entry", cache.Cache(Path())._path(cache._digest(good.ENTRY)).as_posix(),
        lambda rng: good.cache_entry(rng),
        lambda path: cache.Cache(path.parents[1]).get(good.ENTRY), is_safetensors, never_raises=True,
    ),
]  # fmt: skip

RUNS = [
    Parser("checkpoint", "checkpoint.pt", good.checkpoint, good.resume, is_torch, named=("checkpoint",)),
    Parser("run record", "run.json", lambda rng: json_text(rng, good.RECORD), good.read_record, is_json,
           {"pictures.json": json.dumps(good.PICTURES).encode()}, named=("run.json", "run record")),
    Parser("pictures of a run", "pictures.json", lambda rng: json_text(rng, good.PICTURES), good.read_record, is_json,
           {"run.json": json.dumps(good.RECORD).encode()}, named=("pictures.json", "pictures of a run")),
    Parser("pictures of a run in Parquet", "pictures.parquet", lambda rng: table_file(rng, good.PICTURE_COLUMNS),
           good.read_record, is_table, {"run.json": json.dumps(good.RECORD).encode()},
           named=("pictures.parquet", "pictures of a run")),
    Parser("log of losses", "loss.jsonl", lambda rng: lines(rng, good.LOSSES, good.LOSS_LINES), read_log, is_text),
    Parser("settings", "mine.yaml", lambda rng: good.yaml_file(rng, SETTINGS), read_settings, is_yaml),
]  # fmt: skip


def all_parsers() -> list[Parser]:
    from .evaluation_parsers import EVALUATIONS
    from .set_parsers import SETS
    from .text_parsers import TEXTS_OF_NODES
    from .work_parsers import WORK

    return [*MODELS, *RUNS, *SETS, *WORK, *EVALUATIONS, *TEXTS_OF_NODES]
