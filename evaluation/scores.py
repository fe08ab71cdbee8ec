"""Numbers that were measured of pictures, kept line by line as they come.

A file for every measure and process, a line of JSON for every picture; a line that a killed process left half, or
that is something else, is skipped, and its picture measured again.
"""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
from pydantic import Field
from tqdm import tqdm

from ..files import Finite, WrongFile, parse_json, shown
from ..training.processes import in_main, is_main, processes, share
from .cells import Store, digest_of
from .measures import Measure

AT_ONCE = 32  # pictures that are measured together
Vector = Annotated[list[Finite | None], Field(min_length=1)]
Value = Finite | Vector | None  # None where a measure could not give one


class ScoreCache:
    """Scores by measure and picture.

    Args:
        folder: of the files; may be shared by processes and machines.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self._known: dict[str, dict[str, Value]] = {}

    def measure(self, measure: Measure, pictures: Sequence[str], store: Store, note: Callable[[str], None]) -> None:
        """Measure this process's share of what is not known, which the main process lists for all.

        Args:
            pictures: digests.
            note: is told what had no answer.

        Raises:
            OSError: the numbers cannot be written.
        """
        known = self._read(measure)
        missing = in_main(lambda: [digest for digest in pictures if digest not in known])
        batches = share([missing[i : i + AT_ONCE] for i in range(0, len(missing), AT_ONCE)])
        label = f"measuring {measure.name}"
        with tqdm(total=sum(map(len, batches)), desc=label, unit="picture", disable=not is_main(), leave=False) as bar:
            for batch in batches:
                values = _measured(measure, batch, store, note)
                self._append(measure, dict(zip(batch, values, strict=True)))
                bar.update(len(batch))

    def values(self, measure: Measure, pictures: Sequence[str]) -> np.ndarray:
        """``[N]`` or ``[N, D]``.

        Raises:
            KeyError: a picture was not measured.
        """
        known = self._read(measure)
        found = [known[digest] for digest in pictures]
        width = max((len(value) for value in found if isinstance(value, list)), default=0)
        if width:
            found = [value if isinstance(value, list) else [np.nan] * width for value in found]
        return np.array([np.nan if value is None else value for value in found], dtype=np.float64)

    def forget(self) -> None:
        """Read the files again, in which other processes may have written since."""
        self._known.clear()

    def _stem(self, measure: Measure) -> str:
        name = "".join(letter if letter.isalnum() or letter in "-_+" else "-" for letter in measure.name)
        return f"{name}-{digest_of(measure.identity)[:12]}"

    def _read(self, measure: Measure) -> dict[str, Value]:
        stem = self._stem(measure)
        if stem not in self._known:
            lines = (line for file in sorted(self.folder.glob(f"{stem}.*.jsonl")) for line in _lines(file))
            self._known[stem] = _of_one_width(lines)
        return self._known[stem]

    def _append(self, measure: Measure, values: dict[str, Value]) -> None:
        file = self.folder / f"{self._stem(measure)}.{processes().process_index}.jsonl"
        text = "".join(f"\n{json.dumps([digest, value])}" for digest, value in values.items())  # ends a half line
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with file.open("a", encoding="utf-8") as target:
                target.write(text)
        except OSError as error:
            raise OSError(
                f"{shown(file)} could not be written ({error.strerror or error}); what was measured before is kept. "
                "Make room on the disk and start the same command again."
            ) from error
        self._read(measure).update(values)


def _lines(file: Path) -> list[tuple[str, Value]]:
    found = []
    for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
        with contextlib.suppress(WrongFile):  # a half line, or an empty one
            found.append(parse_json(line, tuple[str, Value], file))
    return found


def _of_one_width(lines: Iterable[tuple[str, Value]]) -> dict[str, Value]:
    """The last value of each picture; without those of another kind or width than the first one has."""
    found, width = {}, None
    for digest, value in lines:
        here = len(value) if isinstance(value, list) else -1
        width = here if width is None and value is not None else width
        if value is None or here == width:
            found[digest] = value
    return found


def _measured(
    measure: Measure, digests: Sequence[str], store: Store, note: Callable[[str], None]
) -> list[float | list[float] | None]:
    """A number or a vector for each picture; None where the measure fails, which is noted."""
    pictures = [store.read(digest) for digest in digests]
    sizes = {picture.shape for picture in pictures}
    try:
        if len(sizes) == 1:
            return _plain(measure.of(torch.stack(pictures)))
    except (MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # whatever a metric raises of a picture must not cost the others their numbers
        logging.debug("%s of %d pictures: %s", measure.name, len(pictures), error)
    return [_alone(measure, digest, picture, note) for digest, picture in zip(digests, pictures, strict=True)]


def _alone(measure: Measure, digest: str, picture: torch.Tensor, note: Callable[[str], None]) -> object:
    try:
        return _plain(measure.of(picture[None]))[0]
    except (MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        reason = shown((str(error) or type(error).__name__).splitlines()[0])
        note(f"{measure.name} has no answer for picture {digest[:12]} ({reason}); it counts as missing.")
        return None


def _plain(values: torch.Tensor) -> list:
    """Seven digits, and None for NaN, which JSON does not have."""

    def number(value: float) -> float | None:
        return float(f"{value:.7g}") if np.isfinite(value) else None

    rows = values.detach().cpu().tolist()
    return [[number(each) for each in row] if isinstance(row, list) else number(row) for row in rows]
