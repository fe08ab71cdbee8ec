"""``run.json``: what a run is, so that it goes on as what it was begun, or says what differs.

It holds everything that decides the result: settings, the scores that are learnt, pictures and captions (each in
``pictures.parquet``), base model, text encoder and VAE with the LoRAs on them, the adapter that it starts from, and how
pictures were resized before they were scored. Steps, and what only decides how fast or where it is computed, may change
(``FREE`` in :mod:`.state`). Of pictures it takes the digests of the table's rows and of the run's earlier record: only
those whose file has changed since are read.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import ConfigDict
from typing_extensions import NotRequired, TypedDict

from ..adapter.adapter import Adapter
from ..files import read_json, shown, write_json
from . import identity
from .dataset import TrainingSet
from .encoder import Models
from .making import pack_version
from .pictures_record import FORMER, PicturesRecord
from .settings import RunSettings
from .state import ADVICE, FREE
from .table import Contents

RECORD = "run.json"
SHOWN = {"cache", "sample_prompts", "sample_targets", "sample_steps", "sample_cfg"}  # nothing that is learnt
WITH_DATA = {"metrics"}  # compared by what they choose
ORDER = {"batch_size"}  # on which the order of buckets depends
OF_METRICS = {"imported": "direction", "weights": "weights", "versions": "version"}  # parts of a table's contents
TEXTS = {  # of what is compared by its digest
    "scores": "other scores in the table",
    "unet": "UNet",
    "sampling": "noise schedule",
    "text_encoder": "text encoder",
    "vae": "VAE",
    "iqa_model": "IQA model",
}


@dataclass(frozen=True)
class RunRecord:
    """What decides the result of a run.

    Attributes:
        settings: all of them, by name.
        data: what is learnt of the pictures: kind, inputs, resize, ... by name.
        models: digests by part of the base model; of the IQA model where it draws variants.
        start: digest of the adapter that the run starts from; empty without one.
        pictures: that are learnt, with their captions.
        pack: version of this pack.
    """

    settings: dict
    data: dict
    models: dict
    start: str
    pictures: PicturesRecord
    pack: str

    @classmethod
    def of(
        cls,
        items: TrainingSet,
        models: Models,
        settings: RunSettings,
        samples_per_step: int,
        initial: Adapter | None,
    ) -> RunRecord:
        """Of a run that is about to begin, or to go on."""
        contents = items.table.contents
        columns = ", ".join(settings.data.metrics or contents.models)
        digests = {
            "unet": identity.of_model(models.model),
            "sampling": identity.of_sampling(models.model),
            "text_encoder": identity.of_text_encoder(models.clip),
            "vae": identity.of_model(models.vae.patcher),
        }
        if models.iqa_model is not None:
            digests["iqa_model"] = identity.of_model(models.iqa_model.patcher)
        learnt = {
            "metrics" if contents.kind == "score" else "features": columns,
            **_of_table(contents, settings.data.metrics),
            "samples_per_step": samples_per_step,
            "scores": identity.of_tensors(map(_exact, (items.values, items.mean, items.std))),
        }
        start = identity.of_adapter(initial) if initial is not None else ""
        pictures = PicturesRecord.of(items.pictures, items.seen)
        return cls(_plain(settings.by_name()), learnt, digests, start, pictures, pack_version())

    def write(self, folder: Path) -> None:
        """Into the run's folder; pictures first, for they are read beside a record only."""
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        fields.pop("pictures").write(folder)
        write_json(folder / RECORD, fields)
        (folder / FORMER).unlink(missing_ok=True)

    @classmethod
    def read(cls, folder: Path) -> RunRecord | None:
        """That of the run in the folder; None for a run of version 0.1.0, which wrote none.

        Raises:
            ValueError: it is damaged.
        """
        if not (folder / RECORD).is_file():
            return None
        pictures = PicturesRecord.read(folder)
        try:
            return cls(**read_json(folder / RECORD, _Stored), pictures=pictures)
        except ValueError as error:
            raise ValueError(
                f"{shown(folder / RECORD)} is damaged; delete it to go on without comparing. ({shown(error)})"
            ) from error

    def check(self, before: RunRecord, folder: Path) -> None:
        """Compare with the record of the run that is to go on.

        Raises:
            ValueError: this is not what the run in ``folder`` was begun with; lists what differs.
        """
        pictures = self.pictures.different(before.pictures)
        parts = {
            "with other settings": _different_settings(before, self),
            "on other data": [*_different(before.data, self.data), *pictures],
            "with another base model": _different(before.models, self.models),
            "from another adapter": ["--from-adapter, initial in the node"] if before.start != self.start else [],
        }
        if found := [f"{what} ({'; '.join(differences)})" for what, differences in parts.items() if differences]:
            raise ValueError(f"{folder} was trained {', '.join(found)}. {ADVICE}")


class _Learnt(TypedDict):
    """``data`` of a record; the rest is compared as it is."""

    __pydantic_config__ = ConfigDict(extra="allow")  # type: ignore[misc]

    imported: NotRequired[dict[str, Any]]
    weights: NotRequired[dict[str, Any]]
    versions: NotRequired[dict[str, Any]]


class _Stored(TypedDict):
    """A record in a file."""

    settings: dict[str, Any]
    data: _Learnt
    models: dict[str, str]
    start: str
    pack: str


def _of_table(contents: Contents, metrics: Sequence[str]) -> dict:
    """How the scores were made, as far as the table says it."""
    known = _plain(dataclasses.asdict(contents))
    del known["models"]  # of which a run may choose some
    for name in OF_METRICS:
        known[name] = {metric: value for metric, value in known[name].items() if metric in (metrics or contents.models)}
    return {"resize" if name == "protocol" else name: value for name, value in known.items()}


def _different_settings(before: RunRecord, now: RunRecord) -> list[str]:
    free = FREE | SHOWN | WITH_DATA
    if before.settings.get("buckets"):
        free = free - ORDER
    was = _plain(RunSettings.from_mapping({}, "the defaults").by_name()) | before.settings  # newer ones had defaults
    return [f"{name} {shown(repr(was[name]))}, now {shown(repr(value))}" for name, value in now.settings.items()
            if name not in free and was[name] != value]  # fmt: skip


def _different(was: dict, now: dict) -> list[str]:
    names = [name for name in [*was, *(name for name in now if name not in was)] if was.get(name) != now.get(name)]
    texts = [TEXTS.get(name) or f"{shown(name)} {shown(was.get(name))}, now {shown(now.get(name))}" for name in names
             if name not in OF_METRICS]  # fmt: skip
    for name in OF_METRICS:
        texts += _different_making(name, was.get(name, {}), now.get(name, {}))
    return texts


def _different_making(name: str, was: dict, now: dict) -> list[str]:
    """Of metrics for which both say it: tables of earlier versions do not."""
    metrics = [metric for metric in was if metric in now and was[metric] != now[metric]]
    return [f"{OF_METRICS[name]} of {metric}" for metric in metrics]


def _exact(values: torch.Tensor) -> torch.Tensor:
    """As whole numbers, for digests of floating-point values are rounded."""
    return values.float().contiguous().view(torch.int32)


def _plain(value: dict) -> dict:
    """As JSON gives it back: lists for tuples."""
    return json.loads(json.dumps(value))
