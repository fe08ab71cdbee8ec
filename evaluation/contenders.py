"""What is compared in pairs, by metrics and by people: the base model and a score adapter at three percentiles."""

from __future__ import annotations

from ..files import shown
from .adapters import AdapterUnderTest
from .cells import Cell
from .session import Session

NAMES = ("high", "medium", "low", "base")


def contenders(session: Session, adapter: AdapterUnderTest) -> dict[str, list[Cell]]:
    """Pictures of each at the same prompts and seeds: the highest, the middle and the lowest level, and the base."""
    levels = session.plan.levels
    chosen = (levels[-1], levels[len(levels) // 2], levels[0])
    asked = (session.level(adapter, level) for level in chosen)
    return dict(zip(NAMES, (*asked, session.cells()), strict=True))


def first_score_adapter(session: Session, name: str = "") -> AdapterUnderTest:
    """The adapter of a name, or the plan's first score adapter.

    Raises:
        ValueError: there is none.
    """
    found = {adapter.name: adapter for adapter in session.score_adapters}
    if not found or (name and name not in found):
        there = f"those of the plan are {', '.join(found)}" if found else "the plan has none"
        raise ValueError(f"{f'{shown(name)} is no score adapter' if name else 'A score adapter is needed'}; {there}.")
    return found[name] if name else next(iter(found.values()))
