"""Adapter files for the nodes that load one: the list with what each file is, and one copy of what is in use."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from weakref import WeakValueDictionary

import folder_paths
from comfy_api.latest import io

from ..adapter.adapter import Adapter
from ..adapter.checkpoint import load_adapter
from ..adapter.description import Description, describe, described
from ..adapter.metadata import Metadata
from ..adapter.remembered import recall, remember
from ..files import shown
from ..iqa_models import catalogue
from ..quality.calibration_file import path_beside
from ..quality.names import unknown_metric
from ..quality.statistics import MetricStatistics, cc3m_statistics
from ..quickstart.adapters import REFERENCE, SCORE
from ..quickstart.model import WEIGHTS
from .schema import advanced, files_in

FOLDER = "iqa_adapter"  # key of ComfyUI's folder_paths
QUICKSTART = (SCORE.file.name, REFERENCE.file.name)
SUITABLE = {"score": ("score", "silent"), "reference": ("reference",)}  # kind of adapter -> kinds of files
IN_TOOLTIP = 30  # files of the list that the tooltip describes

_in_use: WeakValueDictionary[tuple, Adapter] = WeakValueDictionary()  # graphs share it


def adapter_input(kind: str, tooltip: str) -> io.Combo.Input:
    """The list of adapter files, the user's own first; what each one is stands in the tooltip and in ``descriptions``.

    Args:
        kind: ``"score"`` or ``"reference"``, which comes first; of the quickstart's two, that one is the default where
            there is no file of the user's own that suits.
    """
    names = files_in(FOLDER)
    found = {name: _description_of(name) for name in names}
    own = [name for name in names if name not in QUICKSTART]
    own.sort(key=lambda name: found[name].kind not in SUITABLE[kind])
    bundled = [name for name in QUICKSTART[:: 1 if kind == "score" else -1] if name in names]
    suitable = [name for name in [*own, *bundled] if found[name].kind in SUITABLE[kind]]
    texts = {name: found[name].text for name in [*own, *bundled]}
    lines = [f"{shown(name)}: {text}" for name, text in list(texts.items())[:IN_TOOLTIP]]
    socket = io.Combo.Input(
        "adapter_name",
        options=list(texts),
        default=next(iter(suitable or texts), None),
        tooltip="\n".join([tooltip, *lines]),
    )
    socket.extra_dict = {**(socket.extra_dict or {}), "descriptions": texts}
    return socket


def metrics_input() -> io.String.Input:
    return advanced(
        io.String.Input(
            "metrics",
            default="",
            optional=True,
            placeholder="topiq_nr, laion_aes",
            tooltip="Only for files that do not say which metrics they were trained on: the names, in training order, "
            "separated by commas. They are remembered for the file. With statistics: "
            + ", ".join(cc3m_statistics())
            + ".",
        )
    )


def load(adapter_name: str, metrics: str = "") -> Adapter:
    """The adapter of a file.

    Args:
        metrics: of a file that does not say them; remembered where the file can be read with them, so that they need
            not be entered again.
    """
    path = path_of(adapter_name)
    entered = _entered(path, metrics)
    key = (path, version(path), entered)
    adapter = _in_use.get(key)
    if adapter is None:
        if entered != metrics.strip():
            logging.info("%s: metrics as entered before, %s.", shown(adapter_name), entered)
        adapter = _in_use[key] = load_adapter(path, description_of_bare(entered))
    if metrics.strip() and describe(path).kind == "silent":
        remember(_folder(), path, metrics.strip())
    return adapter


def fingerprint(adapter_name: str, metrics: str) -> tuple:
    """Changes when the file is replaced, or other metrics hold for it."""
    path = path_of(adapter_name)
    return version(path), _entered(path, metrics)


def in_words(adapter: Adapter) -> str:
    """What an adapter is, its name first."""
    return f"{adapter.name}: {described(adapter.metadata, adapter.width, len(adapter.layers)).text}"


def path_of(adapter_name: str) -> str:
    return folder_paths.get_full_path_or_raise(FOLDER, adapter_name)


def calibration_path(adapter: Adapter) -> Path:
    """Where the calibrations of an adapter are kept.

    Beside its file; those of the pack's own adapters in the user's first folder of adapters, since the pack's folder
    may be read-only, and an update may replace it.

    Raises:
        ValueError: the adapter has no file.
    """
    if adapter.file is None:
        raise ValueError("The adapter has no file, beside which a calibration could be kept; save and load it.")
    beside = path_beside(adapter.file)
    own = Path(adapter.file).resolve().is_relative_to(WEIGHTS.resolve())
    return Path(_folder(), beside.name) if own else beside


def version(path: str | Path) -> tuple[int, int]:
    state = os.stat(path)
    return state.st_mtime_ns, state.st_size


def description_of_bare(metrics: str) -> Metadata | None:
    """What the user says about a file that says nothing; metrics without known statistics take z-scores only."""
    names = [name.strip() for name in metrics.split(",") if name.strip()]
    return Metadata(metrics=tuple(map(_metric, names))) if names else None


def _metric(name: str) -> MetricStatistics:
    known = cc3m_statistics()
    if name not in catalogue.names():
        raise ValueError(unknown_metric(name, known, catalogue.names()))
    entry = catalogue.find(name)
    facts = {"higher_is_better": entry.higher_is_better, "aesthetic": entry.aesthetic}
    return known.get(name) or MetricStatistics(name, **facts)


def _entered(path: str, metrics: str) -> str:
    """The metrics that hold for a file: those given, else those remembered, else none."""
    given = metrics.strip()
    return given if given or describe(path).kind != "silent" else recall(_folder(), path)


def _folder() -> str:
    return folder_paths.get_folder_paths(FOLDER)[0]


def _description_of(adapter_name: str) -> Description:
    path = folder_paths.get_full_path(FOLDER, adapter_name)
    if not path:
        return Description("unusable", "is not there any more")
    found = describe(path)
    if adapter_name not in QUICKSTART:
        return found
    return Description(found.kind, f"{found.text.partition(' for ')[0]} for Quickstart Model")
