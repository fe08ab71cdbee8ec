"""``--columns mos:higher "sharp=my_sharpness:higher:technical"`` -> columns of a table of scores."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..files import WrongFile, shown
from ..iqa_models import catalogue
from ..quality.statistics import CC3M_RESIZE, cc3m_statistics
from .contents import Meaning
from .rows import COLUMNS
from .score_files import ScoreFile

NORMALIZED = "_normalized"  # in the paper's files: (score - mean) / std over CC3M
WORDS = {"higher": True, "lower": False, "aesthetic": True, "technical": False}
NAME = re.compile(r"[^\s=,;:]{1,200}")  # what a target such as `mos=p95` can name


@dataclass(frozen=True)
class Column:
    """A column to import.

    Attributes:
        source: its name in the file.
        name: of the metric.
        meaning: direction and aspect.
        mean, std: that make raw scores of standardised ones.
        resize: at which the pictures were scored; empty where it is not known.
    """

    source: str
    name: str
    meaning: Meaning
    mean: float = 0.0
    std: float = 1.0
    resize: str = ""

    def values(self, file: ScoreFile) -> np.ndarray:
        """``[rows]`` float64, raw."""
        return file.numbers(self.source) * self.std + self.mean

    @property
    def note(self) -> str:
        if self.std == 1.0:
            return ""
        return f"{self.source} is taken as the paper's files have it, (score - mean) / std over CC3M, and becomes " \
            f"{self.name} in its own unit."  # fmt: skip


def parse_columns(texts: Sequence[str], file: ScoreFile) -> list[Column]:
    """``COLUMN[=NAME][:higher|lower][:technical|aesthetic]``, each one.

    Raises:
        ValueError: a column is not there, its direction is not known, or a name cannot be that of a metric.
    """
    columns = [_parse(text, file) for text in texts]
    names = [column.name for column in columns]
    if double := [name for name in names if names.count(name) > 1]:
        raise ValueError(f"{shown(double[0])} is imported twice; give one of them another name: COLUMN=NAME:higher.")
    return columns


def _parse(text: str, file: ScoreFile) -> Column:
    parts = [text] if text in file.columns else text.split(":")
    words: list[str] = []
    while len(parts) > 1 and parts[-1] in WORDS:
        words.insert(0, parts.pop())
    source, given = ":".join(parts), ""
    if source not in file.columns and "=" in source:
        source, _, given = source.rpartition("=")
    if source not in file.columns and f"{source}{NORMALIZED}" in file.columns:
        source += NORMALIZED
    if source not in file.columns and ":" in source:
        word = source.rpartition(":")[2]
        raise ValueError(f"{shown(text)}: {shown(word)} is neither higher nor lower, technical nor aesthetic.")
    file.require(source)
    base = source.removesuffix(NORMALIZED)
    standard = cc3m_statistics().get(base) if source != base and given in ("", base) else None
    name = given or (base if standard else source)
    _check_name(name, text)
    meaning = _meaning(name, base, words, text)
    if standard is None:
        return Column(source, name, meaning)
    return Column(source, name, meaning, standard.mean, standard.std, CC3M_RESIZE)


def _check_name(name: str, text: str) -> None:
    if name in COLUMNS or not NAME.fullmatch(name) or not name.isprintable():
        why = "the table needs that name itself" if name in COLUMNS else "names have no blanks and none of = , ; :"
        raise ValueError(f"{shown(name)} cannot be the name of a metric, for {why}. Give another one: "
                         f"{shown(text.partition(':')[0])}=my_metric:higher.")  # fmt: skip


def _meaning(name: str, base: str, words: list[str], text: str) -> Meaning:
    """What is said, and of metrics of the catalogue what is known.

    Raises:
        WrongFile: nothing says the direction, or what is said contradicts the catalogue.
    """
    better = [WORDS[word] for word in words if word in ("higher", "lower")]
    aspects = [WORDS[word] for word in words if word in ("aesthetic", "technical")]
    known = next((catalogue.find(metric) for metric in (name, base) if metric in catalogue.names()), None)
    if known is None and not better:
        raise WrongFile(
            f"{shown(name)} is no metric that this pack knows, so say whether its higher or its lower scores are the "
            f"better ones: {shown(text)}:higher or {shown(text)}:lower."
        )
    meaning: Meaning = {
        "higher_is_better": better[0] if better else known.higher_is_better,
        "aesthetic": aspects[0] if aspects else known.aesthetic if known else False,
    }
    right = known and (known.higher_is_better, known.aesthetic)
    if name in catalogue.names() and tuple(meaning.values()) != right:
        direction, aspect = "higher" if right[0] else "lower", "aesthetic" if right[1] else "technical"
        raise WrongFile(
            f"{shown(text)}: {name} is known as a metric whose {direction} scores are better, {aspect}. Leave that "
            f"out, or give the column a name of its own: {name}=my_{name}:higher."
        )
    return meaning
