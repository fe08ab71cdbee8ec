"""Good files, from which hostile ones are made."""

from __future__ import annotations

import contextlib
import json
from functools import cache
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import hostile_files
import numpy as np
import torch
import yaml

from iqa_adapter.adapter.projection import QualityEncoding, QualityProjection
from iqa_adapter.quality import calibration_file
from iqa_adapter.training import cache as latents
from iqa_adapter.training.pictures_record import PicturesRecord
from iqa_adapter.training.record import RunRecord
from iqa_adapter.training.settings import RunSettings, TrainingSettings
from iqa_adapter.training.state import CHECKPOINT, TrainingState
from iqa_adapter.training.trainable import TrainableAdapter

from .mutations import lines, safetensors_file, tree
from .torch_mutations import piece, torch_file

SCORED = {"name": "a", "mean": 0.5, "std": 0.1, "percentiles": {"1": 0.1, "50": 0.4, "99": 0.9}, "min": 0.0, "max": 1.0,
          "higher_is_better": True, "aesthetic": False, "protocol": "512", "missing": 2}  # fmt: skip
METADATA = (
    hostile_files.METADATA,
    {"kind": "score", "base_model": "SD1.5", "use_flag": False, "positional_octaves": 0, "version": 1,
     "metrics": [SCORED, SCORED | {"name": "b"}], "origin": "a text", "sites": ["input.1.0", "input.2.0"]},
    {"kind": "reference", "iqa_model": "cnniqa", "layer": "fc", "pooling": "mean", "protocol": "512",
     "feature_mean": [0.0, 1.0], "feature_std": [1.0, 2.0]},
)  # fmt: skip
SOURCE = {"model": "cnniqa", "layer": "a", "pooling": "mean", "protocol": "512"}


def _bare(projection: str, layers: str) -> dict[str, torch.Tensor]:
    names = {"image_proj": projection, "ip_adapter": layers}
    parts = ((key.partition("."), value) for key, value in hostile_files.weights().items())
    return {f"{names[part]}.{name}": value for (part, _, name), value in parts}


def _nested(flat: dict[str, torch.Tensor]) -> dict[str, dict]:
    found: dict[str, dict] = {}
    for key, value in flat.items():
        part, _, name = key.partition(".")
        found.setdefault(part, {})[name] = value
    return found


BARE_ADAPTERS = (
    hostile_files.weights(),
    _nested(hostile_files.weights()),
    _bare("module.qual_proj_model", "module.adapter_modules") | {"unet.weight": torch.ones(2)},
)


@cache
def wide_adapter() -> bytes:
    """Not good: its projection has a byte for each value, which would be four."""
    rows, width = 8 * 1024, 4096
    projection = {"proj.0.weight": (width, 2), "proj.0.bias": (width,), "proj.2.weight": (rows, width),
                  "proj.2.bias": (rows,), "norm.weight": (4,), "norm.bias": (4,)}  # fmt: skip
    layers = {name: value for name, value in hostile_files.weights().items() if name.startswith("ip_adapter.")}
    wide = {f"image_proj.{name}": torch.ones(size).to(torch.float8_e5m2) for name, size in projection.items()}
    return hostile_files.saved(wide | layers)


WEIGHTS = {"conv.weight": torch.ones(2, 3, 3, 3), "conv.bias": torch.ones(2), "norm.steps": torch.tensor(3)}
NESTED = {"a": {"weight": torch.ones(2, 3), "bias": torch.ones(2)}, "b": torch.ones(4), "training": False, "size": 224}
SCALED = {"b.weight": torch.ones(4, 2, dtype=torch.int8), "b.weight.scale": torch.ones(4)}
QUICKSTART = {"a.weight": torch.ones(4, 3), **SCALED}


@cache
def matlab_files() -> list[bytes]:
    """Of each kind of model that comes as one."""
    import iqa_weights

    writers = {"brisque": iqa_weights._brisque, "niqe": iqa_weights._niqe, "nrqm": iqa_weights._nrqm}
    with TemporaryDirectory() as folder:
        for name, write in writers.items():
            write(name, Path(folder, f"{name}.mat"), np.random.default_rng(0))
        return [Path(folder, f"{name}.mat").read_bytes() for name in writers]


# The cache

ENTRY = ("latent", 512)
KEPT = {"latent": torch.ones(4, 2, 2, dtype=torch.float16), "size": torch.tensor([8, 9])}


def cache_entry(rng: Random) -> bytes:
    return safetensors_file(rng, KEPT, {latents.CHECKSUM: latents._checksum(KEPT)} if rng.random() < 0.8 else None)


# Calibrations

CURVE = {"metric": "a", "requested": [1.0, 50.0, 99.0], "measured": [0.2, 0.5, 0.7], "spread": [0.1, 0.1, 0.1],
         "pictures": 12, "resize": "512"}  # fmt: skip
CALIBRATED = {"adapter": "0" * 64, "base": "1" * 64, "base_name": "SDXL", "strength": 1.0, "moved": "quality",
              "responses": [CURVE], "note": ""}  # fmt: skip
CALIBRATIONS = {"version": 1, "calibrations": [CALIBRATED, CALIBRATED | {"moved": "aesthetics"}]}


def read_calibrations(path: Path) -> None:
    """As nodes find one, and read what is requested for a measured value."""
    for found in calibration_file.read_calibrations(path):
        for response in found.responses:
            with contextlib.suppress(ValueError):  # a curve may be flat
                found.in_words(response.reach[0], response.metric)
    calibration_file.find_calibration(path, "0" * 64, "1" * 64, 1.0, "quality")


# Runs


@cache
def run() -> TrainingState:
    settings, encoding = TrainingSettings(), QualityEncoding(use_flag=False, octaves=0)
    weights = [torch.ones(6, 8)] * 4
    adapter = TrainableAdapter(encoding, QualityProjection(1, settings.tokens, 8), weights)
    return TrainingState(adapter, settings, 4)


@cache
def state() -> dict:
    """Of a run after a step."""
    for weight in run().adapter.parameters():
        weight.grad = torch.ones_like(weight)
    run().update()
    with TemporaryDirectory() as folder:
        run().save(Path(folder))
        return torch.load(Path(folder, CHECKPOINT), weights_only=True)


def checkpoint(rng: Random) -> bytes:
    if rng.random() > 0.85:
        optimizer = state()["optimizer"]
        group = dict(optimizer["param_groups"][0])
        weights = {"params": group.pop("params")}
        changed = {"param_groups": [weights | group for group in tree(rng, [group], piece) if isinstance(group, dict)]}
        return hostile_files.saved(state() | {"optimizer": optimizer | changed})
    return torch_file(rng, tree(rng, state(), piece) if rng.random() < 0.5 else state())


def resume(path: Path) -> None:
    run().resume(path.parent)


def _record() -> RunRecord:
    data = {"metrics": "piqe", "kind": "score", "resize": "512", "layer": "", "pooling": "", "imported": {},
            "weights": {"piqe": {"a.pth": "00"}}, "versions": {"piqe": "pyiqa 0.1.15"}, "scores": "00"}  # fmt: skip
    data["samples_per_step"] = 8
    known = json.loads(json.dumps(RunSettings.from_mapping({}, "").by_name()))
    pictures = PicturesRecord._of_mapping(PICTURES)
    return RunRecord(known, data, {"unet": "00", "vae": "00"}, "", pictures, "0.2.0")


PICTURES = {"a.png": ["00" * 16, 0, 100, 10**18, "01" * 16], "b.png": ["02" * 16, 0, 120, 10**18, "03" * 16]}
PICTURE_COLUMNS = dict(zip(("key", "caption", "offset", "bytes", "time", "digest"),
                           map(list, zip(*([key, *entry] for key, entry in PICTURES.items()), strict=True)),
                           strict=True))  # fmt: skip
RECORD = {key: value for key, value in vars(_record()).items() if key != "pictures"}


def read_record(path: Path) -> None:
    """As a run that goes on does."""
    before = RunRecord.read(path.parent)
    if before is not None:
        _record().check(before, path.parent)


LOSSES = "".join(json.dumps({"step": i, "loss": 0.5 / i, "learning_rate": 1e-4}) + "\n" for i in range(1, 6))
LOSS_LINES = ('{"step": 1}', '{"step": "1", "loss": 1}', '{"step": 1, "loss": NaN}', "[1]", "{" * 5000, '{"step": 6')
DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)  # in C, ten times as fast
YAML = ("[", "&a [*a]", "!!python/object:os.system a", "2026-13-45", "? [a, b]", "- 1", ".inf", "1e-4", "{a: 1}", "[a]",
        "&a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]", "1_000", "0x10", "steps: 1", "yes", "~", "[[1]]",
        "!!binary a")  # fmt: skip


@cache
def _yaml(text: str) -> tuple[str, dict]:
    """Without comments, and what it says."""
    plain = "\n".join(line for line in text.splitlines() if line and not line.startswith("#"))
    return plain, yaml.safe_load(plain)


def yaml_file(rng: Random, text: str) -> bytes:
    """Valid YAML with other values, or other lines."""
    text, content = _yaml(text)
    if rng.random() < 0.4:
        return lines(rng, text, YAML)
    changed = tree(rng, content)
    try:
        return yaml.dump(changed, Dumper=DUMPER, allow_unicode=rng.random() < 0.5).encode()
    except UnicodeEncodeError:  # half characters
        return text.encode()
