"""Which IQA models there are: the no-reference metrics of pyiqa 0.1.16 that judge one picture, and the quickstart's.

``data/models.csv`` is the table. Directions and ranges are pyiqa's; sizes, limits, precision and feature layers were
measured on pyiqa's architectures, and the tests measure them again. ``RN50.pt`` and ``ViT-L-14.pt`` are OpenAI's CLIP
(arXiv 2103.00020); every other file is pyiqa's own.
"""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from urllib.parse import quote

from ..quality.statistics import unknown_metric
from .weights import WeightFile

TABLE = Path(__file__).parent / "data" / "models.csv"
PYIQA_SOURCE = "https://huggingface.co/chaofengc/IQA-PyTorch-Weights/resolve/main"
CLIP_SOURCE = "https://openaipublic.azureedge.net/clip/models"
CLIP_SHA256 = {
    "RN50.pt": "afeb0e10f9e5a86da6080e35cf09123aca3b358a0c3e3b6c78a7b63bc04b6762",
    "ViT-L-14.pt": "b8cca3fd41ae0c99ba7e8951adf17d267cdb84cd88be6f7c2e0eca1737a03836",
}
QUICKSTART = "quickstart_iqa"  # a small NIMA of this pack's own, whose weights come with it
QUICKSTART_SOURCE = "quickstart/weights/ of this pack"
QUICKSTART_LICENCE = "Apache 2.0, as this pack"
LICENCE = "pyiqa: PolyForm Noncommercial 1.0.0 and S-Lab 1.0, non-commercial; weights: terms of their authors"


@dataclass(frozen=True)
class FeatureLayer:
    """Where a model's view of a picture can be read, just before it becomes a score.

    Attributes:
        name: dotted path of a module inside pyiqa's net, whose output it is. ``path:input`` is that module's input.
            Models that cut pictures into crops give one row per crop, those of one picture together.
        width: number of channels.
        pooled: the layer gives one vector per picture or crop, ``[rows, width]``; otherwise a map,
            ``[rows, width, height, width]`` or tokens.
    """

    name: str
    width: int
    pooled: bool


@dataclass(frozen=True)
class Entry:
    """An IQA model.

    Attributes:
        name: pyiqa's name; the CC3M statistics use the same.
        higher_is_better: direction of the raw score.
        aesthetic: judges aesthetics (IAA) rather than technical quality (IQA).
        minimum, maximum: range of the raw score as pyiqa states it, often only approximate; may be infinite.
        weights: files it needs, none for hand-made formulas.
        download_mb: their size in MB (10^6 bytes), 0 where it is not known. About: computed from the tensors of the
            architecture in the format of the files.
        licence: note.
        minimum_side, maximum_side: of a picture in pixels; ``maximum_side`` is None if there is no limit.
        batch_safe: a batch gives the same scores as one picture at a time. Also False where every picture is cut into
            so many crops (20 to 50) that it is a batch of its own.
        half_precision: float16 changes scores by less than a hundredth of their spread. Only said of weights with which
            it was measured, which are not those of pyiqa so far.
        layer: its feature layer, None where it has none.
        supported: it can be loaded here; if not, ``why_not`` is the reason.
    """

    name: str
    higher_is_better: bool
    aesthetic: bool
    minimum: float
    maximum: float
    weights: tuple[WeightFile, ...]
    download_mb: float
    licence: str
    minimum_side: int
    maximum_side: int | None
    batch_safe: bool
    half_precision: bool
    layer: FeatureLayer | None
    supported: bool
    why_not: str = ""


def find(name: str) -> Entry:
    """The entry of a metric.

    Raises:
        ValueError: there is none; the nearest name is suggested.
    """
    entries = _entries()
    if name not in entries:
        raise ValueError(unknown_metric(name, list(entries)))
    return entries[name]


def names() -> list[str]:
    """All metrics, also the unsupported ones, sorted."""
    return sorted(_entries())


@cache
def _entries() -> dict[str, Entry]:
    with TABLE.open(newline="") as table:
        return {row["name"]: _from_row(row) for row in csv.DictReader(table)}


def _from_row(row: dict[str, str]) -> Entry:
    files = tuple(_weight_file(row["name"], file) for file in row["files"].split())
    layer = FeatureLayer(row["layer"], int(row["width"]), row["pooled"] == "yes") if row["layer"] else None
    return Entry(
        name=row["name"],
        higher_is_better=row["better"] == "higher",
        aesthetic=row["aspect"] == "aesthetics",
        minimum=float(row["minimum"] or -math.inf),
        maximum=float(row["maximum"] or math.inf),
        weights=files,
        download_mb=float(row["download_mb"] or 0),
        licence=_licence(row["name"], files),
        minimum_side=int(row["minimum_side"] or 1),
        maximum_side=None,
        batch_safe=row["batch_safe"] == "yes",
        half_precision=row["half_precision"] == "yes",
        layer=layer,
        supported=not row["why_not"],
        why_not=row["why_not"],
    )


def _weight_file(metric: str, name: str) -> WeightFile:
    if metric == QUICKSTART:
        return WeightFile(name, QUICKSTART_SOURCE)
    if sha256 := CLIP_SHA256.get(name, ""):
        return WeightFile(name, f"{CLIP_SOURCE}/{sha256}/{name}", sha256)
    return WeightFile(name, f"{PYIQA_SOURCE}/{quote(name)}")


def _licence(metric: str, files: tuple[WeightFile, ...]) -> str:
    if metric == QUICKSTART:
        return QUICKSTART_LICENCE
    return LICENCE + ("; CLIP: MIT" if any(file.name in CLIP_SHA256 for file in files) else "")
