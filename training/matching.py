"""Which pictures of a set have which rows of a table, when a training begins."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from ..files import shown
from ..pictures.reading import Picture
from .pictures_seen import Comparison, compare
from .processes import in_main
from .table import UNREADABLE, ScoredTable
from .unreadable import still_unreadable


@dataclass
class Matched:
    """Pictures and their rows.

    Attributes:
        pictures: those that have a row, or had one before they were replaced.
        rows: its number, for each.
        replaced: keys of the pictures that are no longer those that were scored.
        notes: what the user should know.
        known: of all pictures what tells them apart, as far as it was looked at, see
            :func:`.identity.of_pictures`; empty in processes that are not the main one.
    """

    pictures: list[Picture]
    rows: list[int]
    replaced: list[str]
    notes: list[str]
    known: dict[str, list] = field(default_factory=dict)

    def check(self, table: ScoredTable) -> None:
        """Make sure that no picture was replaced.

        Raises:
            ValueError: one was.
        """
        if self.replaced:
            first, more = shown(self.replaced[0]), len(self.replaced) - 1
            others = f" ({more} others are not, either)" if more else ""
            raise ValueError(f"{first} is no longer the picture that was scored{others}; {table.contents.remedy}.")


def match(
    pictures: Sequence[Picture], chosen: Sequence[Picture], table: ScoredTable, known: Callable[[], Mapping[str, list]]
) -> Matched:
    """Find the row of each picture; pictures that were renamed are found by their bytes.

    The main process looks at the files, the others are told.

    Args:
        pictures: all of the set.
        chosen: those with a caption.
        known: gives digests of an earlier time, see :func:`.identity.of_pictures`.

    Raises:
        ValueError: of the chosen ones some have no row, though they were not left out as unreadable; or none has one.
    """
    looked_at: dict[str, list] = {}

    def look() -> tuple[dict[str, int], list[str], list[str]]:
        looked_at.update(known())
        found = compare(pictures, table.rows.keys, table.rows.seen, looked_at)
        for picture, (size, offset, time), text in zip(
            pictures, found.now.places.tolist(), found.now.digests, strict=True
        ):
            if text:
                looked_at[picture.key] = ["", offset, size, time, text]
        rows = dict(zip([picture.key for picture in pictures], found.rows.tolist(), strict=True))
        replaced = {pictures[number].key for number in found.replaced}
        rows |= {key: row for row, key in enumerate(table.rows.keys) if key in replaced}
        row_of = {key: row for key, row in rows.items() if row >= 0}
        _require_scores([picture for picture in chosen if picture.key not in row_of], len(chosen), table)
        replaced_ones = [picture.key for picture in chosen if picture.key in replaced]
        return row_of, replaced_ones, _notes(found, pictures, table)

    row_of, replaced, notes = in_main(look)
    there = [picture for picture in chosen if picture.key in row_of]
    if not there:
        listed = table.folder / UNREADABLE
        raise ValueError(f"None of the {len(chosen)} pictures with a caption could be scored; see {listed}.")
    if len(there) < len(table.rows.keys):
        logging.info("%d of %d scored pictures have a caption and are used.", len(there), len(table.rows.keys))
    return Matched(there, [row_of[picture.key] for picture in there], replaced, notes, looked_at)


def _require_scores(without: list[Picture], count: int, table: ScoredTable) -> None:
    """Refuse pictures that have no row, though they were not left out as unreadable."""
    if not without:
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
    if not all(table.rows.seen.digests):
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
        notes.append(f"{len(found.gone)} of {len(table.rows.keys)} rows of {table.folder} are of pictures that are not "
                     f"here, {first} among them.")  # fmt: skip
    return notes
