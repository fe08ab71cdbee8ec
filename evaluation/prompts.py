"""The prompts of an evaluation: from a file of one of three kinds, or the quickstart's held-out scenes."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from typing_extensions import TypedDict

from ..files import parse_json, shown
from ..quickstart import world
from ..quickstart.world import HELD_OUT_SEEDS, HELD_OUT_THINGS, Scene, sample_scene

HELD_OUT = "held-out"
FIRST_SCENE = HELD_OUT_SEEDS.start + 50_000
SCENES = 32  # that `held-out` has where no number is given


class _Listed(TypedDict):
    """A line of GenEval's metadata."""

    prompt: str


@dataclass(frozen=True)
class Prompt:
    """What is asked for.

    Attributes:
        text: for the text encoder.
        scene: what the quickstart's reader should find; None of other prompts.
    """

    text: str
    scene: Scene | None = None


def read_prompts(source: str, count: int = 0, folder: Path = Path()) -> list[Prompt]:
    """Prompts of a plan.

    Args:
        source: ``held-out``, or a ``.txt``, ``.tsv`` or ``.jsonl`` file.
        count: takes so many, evenly spread over the file; 0 takes all.
        folder: of the plan, beside which the file may lie.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it has no prompts, fewer than ``count``, or cannot be read.
    """
    if source == HELD_OUT:
        return _held_out(count or SCENES)
    file = next((path for path in (folder / source, Path(source)) if path.is_file()), None)
    if file is None:
        raise FileNotFoundError(f"There is no file of prompts {shown(source)}; give a path, or `{HELD_OUT}`.")
    texts = list(dict.fromkeys(filter(None, (text.strip() for text in _texts(file)))))
    if not texts:
        raise ValueError(f"{shown(file)} holds no prompts; write one on each line.")
    if len(texts) < count:
        raise ValueError(f"{shown(file)} holds {len(texts)} prompts, fewer than prompt_count {count}; lower it.")
    chosen = np.linspace(0, len(texts) - 1, count).round().astype(int) if count else range(len(texts))
    return [Prompt(texts[i]) for i in chosen]


def _held_out(count: int) -> list[Prompt]:
    scenes = (sample_scene(FIRST_SCENE + i, HELD_OUT_THINGS, two_objects=0) for i in range(count))
    return [Prompt(world.prompt(scene), scene) for scene in scenes]


def _texts(file: Path) -> list[str]:
    readers = {".txt": _lines, ".tsv": _parti_prompts, ".jsonl": _geneval}
    if file.suffix.lower() not in readers:
        raise ValueError(f"{shown(file)} must end in {', '.join(readers)}, which say how it is written.")
    try:
        return readers[file.suffix.lower()](file.read_text(encoding="utf-8-sig"))
    except (ValueError, csv.Error) as error:
        raise ValueError(f"{shown(file)} cannot be read as {file.suffix}: {shown(error).rstrip('.')}.") from error


def _lines(text: str) -> list[str]:
    """A prompt a line; lines that begin with # are comments."""
    return [line for line in text.splitlines() if not line.startswith("#")]


def _parti_prompts(text: str) -> list[str]:
    """Column ``Prompt`` of PartiPrompts (Yu et al., *Scaling autoregressive models*, arXiv 2206.10789)."""
    rows = list(csv.DictReader(io.StringIO(text), delimiter="\t", quoting=csv.QUOTE_NONE))
    if rows and "Prompt" not in rows[0]:
        raise ValueError(f"it has no column Prompt, but {', '.join(map(str, rows[0]))}")
    return [row["Prompt"] or "" for row in rows]


def _geneval(text: str) -> list[str]:
    """Field ``prompt`` of GenEval's metadata (Ghosh et al., *GenEval*, arXiv 2310.11513)."""
    return [parse_json(line, _Listed, "a line")["prompt"] for line in text.splitlines() if line.strip()]
