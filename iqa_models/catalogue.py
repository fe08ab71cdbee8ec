"""Which IQA models there are: the no-reference metrics of pyiqa that judge one picture, and some of this pack.

``data/models.csv`` is the table. A new metric of pyiqa is one row; a metric of another origin is a row that names a
file of this room in ``module``, whose ``net()`` makes the net. Directions and ranges are pyiqa's; sizes, limits, memory
and feature layers were measured on pyiqa's architectures, and the tests measure them again. ``RN50.pt`` and
``ViT-L-14.pt`` are OpenAI's CLIP (arXiv 2103.00020); every other file of pyiqa's metrics is pyiqa's own.

Memory (``bytes_per_picture``, ``bytes_per_pixel``) is measured by ``python -m benchmarks.memory``; a row without it was
not measured (the three of MANIQA, which take minutes), and a round number stands for it (:data:`UNMEASURED`).
"""

from __future__ import annotations

import csv
import math
import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from ..quality.names import unknown_metric
from .weights import WeightFile

if TYPE_CHECKING:
    from torch import Tensor

TABLE = Path(__file__).parent / "data" / "models.csv"
HUB = "https://huggingface.co"  # or the mirror in the environment's HF_ENDPOINT
PYIQA_WEIGHTS = "chaofengc/IQA-PyTorch-Weights/resolve/main"
CLIP_SOURCE = "https://openaipublic.azureedge.net/clip/models"
CLIP_SHA256 = {
    "RN50.pt": "afeb0e10f9e5a86da6080e35cf09123aca3b358a0c3e3b6c78a7b63bc04b6762",
    "ViT-L-14.pt": "b8cca3fd41ae0c99ba7e8951adf17d267cdb84cd88be6f7c2e0eca1737a03836",
}
QUICKSTART = "quickstart_iqa"  # whose weights come with this pack
QUICKSTART_SOURCE = "quickstart/weights/ of this pack"
OWN_LICENCE = "Apache 2.0, as this pack"
DEFAULT_RESIZE = "512"
UNMEASURED = (0, 1024)  # bytes per picture and per pixel
LICENCE = "pyiqa: PolyForm Noncommercial 1.0.0 and S-Lab 1.0, non-commercial; weights: terms of their authors"


class NotInstalled(ValueError):
    """The installed pyiqa does not have a metric of the catalogue."""


@dataclass(frozen=True)
class FeatureLayer:
    """Where a model's view of a picture can be read, just before it becomes a score.

    Attributes:
        name: dotted path of a module inside the net, whose output it is; or a tap, see :mod:`.taps`.
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
        module: file of this room whose ``net()`` makes the net; empty for pyiqa's metrics.
        since: first version of pyiqa that has it; empty where all have.
        higher_is_better: direction of the raw score.
        aesthetic: judges aesthetics (IAA) rather than technical quality (IQA).
        minimum, maximum: range of the raw score as pyiqa states it, often only approximate; may be infinite.
        weights: files it needs, none for hand-made formulas.
        download_mb: their size in MB (10^6 bytes), 0 where it is not known. About: computed from the tensors of the
            architecture in the format of the files.
        licence: note.
        minimum_side: of a picture in pixels.
        resize: how pictures are scaled for it where nobody says otherwise, see :mod:`..quality.resize`.
        batch_safe: a batch gives the same scores as one picture at a time, whatever pictures it holds. Also False where
            every picture is cut into so many crops (20 to 50) that it is a batch of its own.
        bytes_per_picture, bytes_per_pixel: of working memory.
        layer: its feature layer, None where it has none.
        supported: it can be loaded here; if not, ``why_not`` is the reason.
    """

    name: str
    module: str
    since: str
    higher_is_better: bool
    aesthetic: bool
    minimum: float
    maximum: float
    weights: tuple[WeightFile, ...]
    download_mb: float
    licence: str
    minimum_side: int
    resize: str
    batch_safe: bool
    bytes_per_picture: int
    bytes_per_pixel: int
    layer: FeatureLayer | None
    supported: bool
    why_not: str = ""

    def working_memory(self, pixels: int) -> int:
        """Bytes that a picture of so many pixels takes while it is judged."""
        return self.bytes_per_picture + self.bytes_per_pixel * pixels

    def reached(self, scores: Tensor, threshold: float) -> Tensor:
        """Which raw scores are at least as good as one, in the metric's own direction; NaN is not."""
        return scores >= threshold if self.higher_is_better else scores <= threshold


def find(name: str) -> Entry:
    """The entry of a metric.

    Raises:
        ValueError: there is none; the nearest name is suggested.
    """
    rows = _rows()
    if name not in rows:
        raise ValueError(unknown_metric(name, rows))
    return _from_row(rows[name])


def names() -> list[str]:
    """All metrics, also the unsupported ones, sorted."""
    return sorted(_rows())


@cache
def _rows() -> dict[str, dict[str, str]]:
    with TABLE.open(newline="") as table:
        return {row["name"]: row for row in csv.DictReader(table)}


def _from_row(row: dict[str, str]) -> Entry:
    files = tuple(_weight_file(row["name"], file) for file in row["files"].split())
    layer = FeatureLayer(row["layer"], int(row["width"]), row["pooled"] == "yes") if row["layer"] else None
    return Entry(
        name=row["name"],
        module=row["module"],
        since=row["since"],
        higher_is_better=row["better"] == "higher",
        aesthetic=row["aspect"] == "aesthetics",
        minimum=float(row["minimum"] or -math.inf),
        maximum=float(row["maximum"] or math.inf),
        weights=files,
        download_mb=float(row["download_mb"] or 0),
        licence=_licence(row["module"], files),
        minimum_side=int(row["minimum_side"] or 1),
        resize=row["resize"] or DEFAULT_RESIZE,
        batch_safe=row["batch_safe"] == "yes",
        bytes_per_picture=int(row["bytes_per_picture"] or UNMEASURED[0]),
        bytes_per_pixel=int(row["bytes_per_pixel"] or UNMEASURED[1]),
        layer=layer,
        supported=not row["why_not"],
        why_not=row["why_not"],
    )


def _weight_file(metric: str, name: str) -> WeightFile:
    if metric == QUICKSTART:
        return WeightFile(name, QUICKSTART_SOURCE)
    if sha256 := CLIP_SHA256.get(name, ""):
        return WeightFile(name, f"{CLIP_SOURCE}/{sha256}/{name}", sha256)
    hub = os.environ.get("HF_ENDPOINT", "").rstrip("/") or HUB
    return WeightFile(name, f"{hub}/{PYIQA_WEIGHTS}/{quote(name)}")


def _licence(module: str, files: tuple[WeightFile, ...]) -> str:
    if module:
        return OWN_LICENCE
    return LICENCE + ("; CLIP: MIT" if any(file.name in CLIP_SHA256 for file in files) else "")
