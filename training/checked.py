"""Records of settings that check themselves, read from YAML."""

from __future__ import annotations

import contextlib
import dataclasses

import yaml

KINDS = {int: "a whole number", float: "a number", bool: "true or false", str: "text", tuple: "a list"}


class Checked:
    """Base of frozen dataclasses whose fields all have defaults, which tell their types."""

    def _check_types(self) -> None:
        """Refuse values of other types; numbers as people write them become floats, lists tuples."""
        for field in dataclasses.fields(self):
            kind, value = type(field.default), getattr(self, field.name)
            if kind is float and isinstance(value, str):  # YAML 1.1 reads 1e-4, without a point, as text
                with contextlib.suppress(ValueError):
                    value = float(value)
            if (kind is float and type(value) is int) or (kind is tuple and isinstance(value, list)):
                value = kind(value)
            self._require(field.name, type(value) is kind, KINDS[kind])
            object.__setattr__(self, field.name, value)

    def _require(self, name: str, holds: bool, expected: str) -> None:
        if not holds:
            raise ValueError(f"Training settings: {name} must be {expected}, not {getattr(self, name)!r}.")


def read_yaml(text: str, origin: str, *classes: type[Checked]) -> list:
    """Settings records from one flat YAML mapping; what it does not name keeps its default.

    Args:
        text: lines of the form ``setting: value``.
        origin: where it comes from, for messages.
        classes: whose fields it may name.

    Raises:
        ValueError: not a YAML mapping, an unknown setting, or one out of its range.
    """
    return make_settings(parse_mapping(text, origin), origin, *classes)


def parse_mapping(text: str, origin: str) -> dict:
    """YAML lines of the form ``setting: value``.

    Raises:
        ValueError: they are none.
    """
    try:
        given = yaml.safe_load(text) or {}
    except yaml.YAMLError as error:
        raise ValueError(f"{origin} is no valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(given, dict):
        raise ValueError(f"{origin} must hold lines of the form `setting: value`.")
    return given


def make_settings(given: dict, origin: str, *classes: type[Checked]) -> list:
    """One record of each class from values by name; see :func:`read_yaml`."""
    fields = {cls: [field.name for field in dataclasses.fields(cls)] for cls in classes}
    known = [name for names in fields.values() for name in names]
    if unknown := [str(name) for name in given if name not in known]:
        raise ValueError(f"{origin}: unknown setting {', '.join(unknown)}; known are {', '.join(known)}.")
    return [cls(**{name: given[name] for name in names if name in given}) for cls, names in fields.items()]
