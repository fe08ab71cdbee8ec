"""Votes of people on pairs of pictures: a line of JSON for each, in one file beside the pictures.

A vote names its pictures by their digests, so that it holds in every plan that shows them.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field
from typing_extensions import TypedDict

from ..files import WrongFile, parse_json, shown
from .bradley_terry import Vote
from .contenders import contenders, first_score_adapter
from .session import Session

CHOICES = {"left": 1.0, "right": 0.0, "tie": 0.5}


class Given(TypedDict):
    """A vote as it is kept."""

    voter: Annotated[str, Field(pattern=r"\S", max_length=100)]
    left: str  # digest of a picture
    right: str
    choice: Literal["left", "right", "tie"]


def votes_file(session: Session) -> Path:
    """Where votes are kept."""
    return session.work / "votes.jsonl"


def read_votes(session: Session, adapter: str) -> list[Vote]:
    """All votes on a plan's contenders, the last one of a voter on a pair; none where there is no file."""
    pictures = contenders(session, first_score_adapter(session, adapter))
    names = {session.digest(cell): name for name, cells in pictures.items() for cell in cells}
    return counted(read_lines(votes_file(session)), names)


def counted(votes: Sequence[Given], names: Mapping[str, str]) -> list[Vote]:
    """Those on pictures that have a name, by digest; the last one of a voter on a pair."""
    last = {
        (vote["voter"], frozenset((vote["left"], vote["right"]))): vote
        for vote in votes
        if vote["left"] in names and vote["right"] in names
    }
    return [(names[vote["left"]], names[vote["right"]], CHOICES[vote["choice"]]) for vote in last.values()]


def read_lines(file: Path) -> list[Given]:
    """Votes in the order in which they were given; lines that are none, such as a half one, are left out."""
    if not file.is_file():
        return []
    found = []
    for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
        with contextlib.suppress(WrongFile):
            found.append(parse_json(line, Given, file))
    return found


def append_vote(file: Path, vote: Given) -> None:
    """Keep a vote at once.

    Raises:
        OSError: it cannot be written.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("a", encoding="utf-8") as target:
            target.write(f"\n{json.dumps(vote)}")  # the line's end first: it closes a half line
    except OSError as error:
        reason = error.strerror or error
        raise OSError(f"{shown(file)} could not be written ({reason}); make room and vote again.") from error
