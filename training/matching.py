"""Which pictures of a set have which rows of a table, when a training begins."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..files import shown
from ..pictures.found import are_captioned, in_shards, take
from ..pictures.reading import Picture
from .pictures_seen import Comparison, Seen, compare
from .processes import in_main
from .table import UNREADABLE, ScoredTable
from .unreadable import still_unreadable


@dataclass
class Matched:
    """Pictures and their rows.

    Attributes:
        pictures: those that have a caption and a row, or had a row before they were replaced.
        rows: ``[pictures]`` its number, for each.
        replaced: keys of the pictures that are no longer those that were scored.
        notes: what the user should know.
        seen: the pictures as they are now, as far as it was looked at; None in processes that are not the main one.
    """

    pictures: Sequence[Picture]
    rows: np.ndarray
    replaced: list[str]
    notes: list[str]
    seen: Seen | None

    def keep(self, numbers: np.ndarray) -> Matched:
        """Some of them, whose numbers ascend, in the memory of all of them, which are lost."""
        if len(numbers) == len(self.rows):
            return self
        seen = None if self.seen is None else self.seen.keep(numbers)
        return replace(self, pictures=take(self.pictures, numbers), rows=self.rows[numbers], seen=seen)

    def check(self, table: ScoredTable) -> None:
        """Make sure that no picture was replaced.

        Raises:
            ValueError: one was.
        """
        if self.replaced:
            first, more = shown(self.replaced[0]), len(self.replaced) - 1
            others = f" ({more} others are not, either)" if more else ""
            raise ValueError(f"{first} is no longer the picture that was scored{others}; {table.contents.remedy}.")


def match(pictures: Sequence[Picture], table: ScoredTable, known: Callable[[], Mapping[str, list]]) -> Matched:
    """Find the row of each picture that has a caption; pictures that were renamed are found by their bytes.

    The main process looks at the files, the others are told. Of a shard that has changed, the pictures that are no
    longer those that were scored are left out.

    Args:
        known: gives digests of an earlier time, see :class:`.pictures_record.PicturesRecord`.

    Raises:
        ValueError: some have no row, though they were not left out as unreadable; or none has one.
    """
    has_caption = are_captioned(pictures)
    seen: list[Seen] = []

    def look() -> tuple[np.ndarray, list[str], list[str]]:
        found = compare(pictures, table.rows.keys, table.rows.seen, known())
        rows = found.rows
        replaced = np.array(found.replaced, np.int64)
        is_in_shard = in_shards(take(pictures, replaced)) >= 0
        changed, replaced = replaced[is_in_shard & has_caption[replaced]], replaced[~is_in_shard]
        rows[replaced] = found.of_key[replaced]
        is_without = has_caption & (rows < 0)
        is_without[changed] = False
        _require_scores(take(pictures, np.flatnonzero(is_without)), int(has_caption.sum()), table)
        seen.append(found.now)
        names = [picture.key for picture in take(pictures, replaced[has_caption[replaced]])]
        return rows, names, [*_notes(found, pictures, table), *_about_shards(take(pictures, changed), table)]

    rows, replaced, notes = in_main(look)
    chosen = np.flatnonzero(has_caption & (rows >= 0))
    count, of_table = int(has_caption.sum()), len(table.rows)
    if not len(chosen):
        listed = table.folder / UNREADABLE
        raise ValueError(f"None of the {count} pictures with a caption could be scored; see {listed}.")
    if len(chosen) < of_table:
        logging.info("%d of %d scored pictures have a caption and are used.", len(chosen), of_table)
    return Matched(pictures, rows, replaced, notes, seen[0] if seen else None).keep(chosen)


def _about_shards(changed: Sequence[Picture], table: ScoredTable) -> list[str]:
    """A sentence for each shard that holds other pictures than it did when they were scored."""
    counts = Counter(picture.file.name for picture in changed)
    return [f"{shown(name)} has changed: {count} of its pictures are no longer those that were scored and are left "
            f"out; {table.contents.remedy}." for name, count in counts.items()]  # fmt: skip


def _require_scores(without: Sequence[Picture], count: int, table: ScoredTable) -> None:
    """Refuse pictures that have no row, though they were not left out as unreadable."""
    if not len(without):
        return
    known = still_unreadable(table.folder, without)
    missing = [picture.key for picture in without if picture.key not in known]
    if missing:
        remedy = (
            "import scores that name them"
            if table.contents.imported
            else "score them: what is in the table already is kept"
        )
        raise ValueError(
            f"{len(missing)} of {count} pictures have no row in the table {table.folder} (the first is "
            f"{shown(missing[0])}; the table's first is {shown(table.rows.keys[0])}). Choose the pictures that were "
            f"scored, or {remedy}."
        )


def _notes(found: Comparison, pictures: Sequence[Picture], table: ScoredTable) -> list[str]:
    notes = []
    if found.has_unknown:
        notes.append(
            f"{table.folder} is of a version that did not write down which pictures it saw, so a replaced one is not "
            "noticed; start its scoring again to mend that (nothing is scored twice)."
        )
    if found.renamed:
        first = shown(pictures[found.renamed[0]].key)
        notes.append(f"{len(found.renamed)} pictures were renamed since they were scored, {first} among them; their "
                     "scores are used.")  # fmt: skip
    if found.gone:
        first = shown(table.rows.keys[found.gone[0]])
        notes.append(f"{len(found.gone)} of {len(table.rows)} rows of {table.folder} are of pictures that are not "
                     f"here, {first} among them.")  # fmt: skip
    return notes
