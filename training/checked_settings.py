"""Settings that say what they are: one line per setting holds its default, meaning, unit, range and the paper's value.

From that line come the check of what a user writes, the help of the command line and the commented YAML. Neither needs
torch or ComfyUI.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import textwrap
from dataclasses import dataclass

import yaml

TYPE_NAMES = {int: "a whole number", float: "a number", bool: "true or false", str: "text", tuple: "a list"}
WIDTH = 110  # columns of the help


@dataclass(frozen=True)
class Setting:
    """What is known of a setting beside its name, type and default.

    Attributes:
        meaning: for the help; starts with a small letter, ends without a full stop.
        unit: of its number.
        paper: the value of arXiv 2412.01794, where it says one.
        least, most: the ends of its range; of a list, of its entries.
        above, below: ends that do not belong to the range.
        choices: of a text.
        multiple_of: of which it must be a multiple; 0 for any number.
        entries: type of a list's entries.
        of_model: without a value the connected model decides; the default stands for it where there is none.
    """

    meaning: str
    unit: str = ""
    paper: str = ""
    least: float | None = None
    most: float | None = None
    above: float | None = None
    below: float | None = None
    choices: tuple[str, ...] = ()
    multiple_of: int = 0
    entries: type = str
    of_model: bool = False

    @property
    def range(self) -> str:
        """In words; empty without one."""
        if self.choices:
            return ", ".join(self.choices)
        low = f"above {self.above:g}" if self.above is not None else "" if self.least is None else f"{self.least:,g}"
        high = f"below {self.below:g}" if self.below is not None else "" if self.most is None else f"{self.most:,.10g}"
        step = f", in steps of {self.multiple_of}" if self.multiple_of else ""
        return " to ".join(filter(None, (low, high))) + step

    def fault(self, value: object) -> str:
        """What a value of the right type should have been; empty if it is good."""
        if isinstance(value, tuple):
            return next(filter(None, map(self._fault_of_entry, value)), "")
        if self.choices and value not in self.choices:
            return f"one of {', '.join(self.choices)}"
        return self._fault_of_number(value) if isinstance(value, (int, float)) else ""

    def _fault_of_entry(self, entry: object) -> str:
        if self.entries is str:
            return "" if isinstance(entry, str) else "a list of texts"
        number = isinstance(entry, (int, float)) and not isinstance(entry, bool)
        fault = self._fault_of_number(entry) if number else "numbers"
        return fault and f"a list of numbers, {self.range}"

    def _fault_of_number(self, number: float) -> str:
        if not math.isfinite(number):
            return "a finite number"
        if self.above is not None and number <= self.above:
            return f"above {self.above:g}"
        if self.below is not None and number >= self.below:
            return f"below {self.below:g}"
        if self.least is not None and number < self.least:
            return f"at least {self.least:g}"
        if self.most is not None and number > self.most:
            return f"at most {self.most:,.10g}"
        return f"a multiple of {self.multiple_of}" if self.multiple_of and number % self.multiple_of else ""


def setting(default: object, meaning: str, **known) -> object:
    """The field of a dataclass; see :class:`Setting` for what may be known."""
    return dataclasses.field(default=default, metadata={"setting": Setting(meaning, **known)})


class Checked:
    """Base of frozen dataclasses whose fields are all made by :func:`setting`."""

    def __post_init__(self):
        """Refuse values of other types or out of their range; numbers as people write them become numbers.

        Raises:
            ValueError: names the setting, what it must be and what it is.
        """
        for field in dataclasses.fields(self):
            kind = type(field.default)
            value = _as_number(getattr(self, field.name), kind)
            value = tuple(value) if kind is tuple and isinstance(value, list) else value
            fault = TYPE_NAMES[kind] if type(value) is not kind else field.metadata["setting"].fault(value)
            self._require(field.name, not fault, fault)
            object.__setattr__(self, field.name, value)

    def _require(self, name: str, holds: bool, expected: str) -> None:
        if not holds:
            raise ValueError(f"Training settings: {name} must be {expected}, not {short(getattr(self, name))}.")


def _as_number(value: object, kind: type) -> object:
    """YAML 1.1 reads 1e-4, without a point, as text, and 1e4 is a whole number to people."""
    if kind not in (int, float) or isinstance(value, bool):
        return value
    if isinstance(value, str):
        with contextlib.suppress(ValueError):
            value = float(value)
    if kind is float and isinstance(value, int):
        return float(value) if abs(value) < 2**53 else math.inf
    if kind is int and isinstance(value, float) and value.is_integer():
        return int(value)
    return value


def _shown(text: object) -> str:
    from ..files import shown  # brings torch, which takes seconds, and the help reads this file

    return shown(text)


def short(value: object) -> str:
    """Lists within lists are cut: YAML can name one of them many times, and each of those many times again."""
    entries = value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else ()
    if any(isinstance(entry, (list, tuple, dict)) for entry in entries):
        return f"a {type(value).__name__} of lists"
    text = _shown(repr(value))
    return text if len(text) <= 80 else f"{text[:77]}..."


def parse_mapping(text: str | bytes, origin: str) -> dict:
    """YAML lines of the form ``setting: value``.

    Raises:
        ValueError: they are none.
    """
    try:
        given = yaml.safe_load(text) or {}
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: such a date, or such a number
        raise ValueError(f"{origin} is no valid YAML: {_shown(' '.join(str(error).split()))}") from error
    if not isinstance(given, dict):
        raise ValueError(f"{origin} must hold lines of the form `setting: value`.")
    return given


def make_settings(given: dict, origin: str, *classes: type[Checked]) -> list:
    """One record of each class from values by name; what is not named keeps its default.

    Args:
        origin: where the values come from, for messages.

    Raises:
        ValueError: an unknown setting, or one of another type or out of its range.
    """
    fields = {cls: [field.name for field in dataclasses.fields(cls)] for cls in classes}
    known = [name for names in fields.values() for name in names]
    if unknown := [_shown(name) for name in given if name not in known]:
        raise ValueError(f"{origin}: unknown setting {', '.join(unknown)}; known are {', '.join(known)}.")
    try:
        return [cls(**{name: given[name] for name in names if name in given}) for cls, names in fields.items()]
    except ValueError as error:
        raise ValueError(f"{origin}: {error}") from error


def to_help(title: str, cls: type[Checked]) -> str:
    """A paragraph per setting: name, default, unit, range, the paper's value, meaning."""
    lines = [f"{title}:"]
    for field in dataclasses.fields(cls):
        known = field.metadata["setting"]
        default = f"{_yaml(field.default)}{f' {known.unit}' if known.unit else ''}"
        facts = ["default the model's own" if known.of_model else f"default {default}"]
        facts += [f"range {known.range}"] if known.range and not known.choices else []
        facts += [f"one of {known.range}"] if known.choices else []
        facts += [f"paper {known.paper}"] if known.paper else []
        text = f"{known.meaning} ({'; '.join(facts)})"
        lines += textwrap.wrap(text, WIDTH, initial_indent=f"  {field.name:24}", subsequent_indent=" " * 26)
    return "\n".join(lines)


def to_commented_yaml(title: str, cls: type[Checked]) -> str:
    """Every setting with its default, below a comment that says what it is; what the model decides is no line yet."""
    lines = [f"# {title}"]
    for field in dataclasses.fields(cls):
        known = field.metadata["setting"]
        facts = [known.meaning[0].upper() + known.meaning[1:]]
        facts += [f"Unit: {known.unit}"] if known.unit else []
        facts += [f"Range: {known.range}"] if known.range else []
        facts += [f"Paper: {known.paper}"] if known.paper else []
        lines += ["", *textwrap.wrap(". ".join(facts) + ".", WIDTH, initial_indent="# ", subsequent_indent="# ")]
        lines += [f"{'# ' if known.of_model else ''}{field.name}: {_yaml(field.default)}"]
    return "\n".join(lines) + "\n"


def _yaml(value: object) -> str:
    return yaml.safe_dump(list(value) if isinstance(value, tuple) else value, default_flow_style=True).split("\n")[0]
