"""Calibrations of an adapter <-> the JSON file beside its weights."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Annotated

from pydantic import Field
from typing_extensions import Required, TypedDict

from ..files import Digest, Finite, Text, WrongFile, parse_json, read_json, shown, write_json
from .calibration import Calibration, ResponseOfMetric

VERSION = 1
Numbers = Annotated[list[Finite], Field(max_length=1001)]
Spreads = Annotated[list[Annotated[Finite, Field(ge=0)]], Field(max_length=1001)]
NAMED = 5  # calibrations in a message


class _Response(TypedDict, total=False):
    metric: Required[Text]
    requested: Required[Numbers]
    measured: Required[Numbers]
    spread: Required[Spreads]
    pictures: Required[Annotated[int, Field(strict=True, ge=1)]]
    resize: Required[Text]


class _Stored(TypedDict, total=False):
    adapter: Required[Digest]
    base: Required[Digest]
    base_name: Required[Text]
    strength: Required[Finite]
    moved: Required[Text]
    responses: Required[Annotated[list[_Response], Field(min_length=1, max_length=1000)]]
    note: Text


class _File(TypedDict):
    version: Annotated[int, Field(strict=True, ge=1)]
    calibrations: Annotated[list[_Stored], Field(max_length=1000)]


def path_beside(adapter_file: str | Path) -> Path:
    """``topiq.calibration.json`` beside ``topiq.safetensors``."""
    return Path(adapter_file).with_suffix(".calibration.json")


def read_calibrations(path: str | Path) -> list[Calibration]:
    """All calibrations of a file; none where there is no file.

    Raises:
        WrongFile: it is something else, damaged, or of a later version; one sentence.
    """
    path = Path(path)
    if not path.is_file():
        return []
    content = read_json(path, _File)
    if content["version"] > VERSION:
        raise WrongFile(
            f"{shown(path)} is of version {content['version']} of calibrations, later than {VERSION}. Update this pack."
        )
    try:
        return [_calibration(each) for each in content["calibrations"]]
    except ValueError as error:
        raise WrongFile(f"{shown(path)} cannot be used: {shown(error)} Calibrate the adapter again.") from error


def keep_calibration(path: str | Path, calibration: Calibration) -> None:
    """Add a calibration to a file; it takes the place of the one for the same adapter, base, strength and request.

    Raises:
        OSError: the file cannot be written; what was there is kept.
        WrongFile: there is a file that cannot be read, or the calibration holds what no file may; the file is left as
            it is.
    """
    others = [kept for kept in read_calibrations(path) if kept.holds_for != calibration.holds_for]
    stored = [dataclasses.asdict(each) for each in [*others, calibration]]
    content = {"version": VERSION, "calibrations": stored}
    parse_json(
        json.dumps(content), _File, f"The calibration for {shown(path)}"
    )  # else nobody could read the file again
    write_json(path, content)


def find_calibration(path: str | Path, adapter: str, base: str, strength: float, moved: str) -> Calibration:
    """The calibration of an adapter on a base model at a strength.

    Args:
        adapter, base: digests.

    Raises:
        ValueError: there is none; the message says which there are.
        WrongFile: see :func:`read_calibrations`.
    """
    found = read_calibrations(path)
    for each in found:
        if each.holds_for == (adapter, base, strength, moved):
            return each
    there = [
        f"{shown(each.moved)} at strength {each.strength:g} on {shown(each.base_name)}"
        + ("" if each.adapter == adapter else " (of other weights of the adapter)")
        + ("" if each.base == base else " (another base model)")
        for each in found[:NAMED]
    ] + (["..."] if len(found) > NAMED else [])
    raise ValueError(
        f"There is no calibration of {moved} at strength {strength:g} for this adapter on this base model in "
        f"{shown(path)}, which holds: {'; '.join(there) or 'nothing'}. Connect iqa_scores and requested of a sweep to "
        "make one."
    )


def _calibration(stored: _Stored) -> Calibration:
    responses = tuple(
        ResponseOfMetric(
            metric=each["metric"],
            requested=tuple(each["requested"]),
            measured=tuple(each["measured"]),
            spread=tuple(each["spread"]),
            pictures=each["pictures"],
            resize=each["resize"],
        )
        for each in stored["responses"]
    )
    fields = {key: value for key, value in stored.items() if key != "responses"}
    return Calibration(**fields, responses=responses)  # type: ignore[arg-type]
