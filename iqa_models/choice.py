"""The metrics that can be chosen, in groups for a list, each with what one wants to know before choosing it."""

from __future__ import annotations

from collections.abc import Iterator

from . import catalogue
from .catalogue import QUICKSTART, Entry

RECOMMENDED = ("topiq_nr", "musiq", "clipiqa+", "hyperiqa", "laion_aes", "topiq_iaa")
NO_DOWNLOAD, FIRST_CHOICE, OTHERS = "no download", "recommended", "others"


def groups() -> dict[str, list[Entry]]:
    """Group -> its metrics, those of technical quality before those of aesthetics; every metric that can be loaded."""
    found: dict[str, list[Entry]] = {NO_DOWNLOAD: [], FIRST_CHOICE: [], OTHERS: []}
    for name in (*RECOMMENDED, *(name for name in catalogue.names() if name not in RECOMMENDED)):
        entry = catalogue.find(name)
        if entry.supported:
            found[_group(entry)].append(entry)
    for entries in found.values():
        entries.sort(key=lambda entry: entry.aesthetic)  # stable
    return found


def described() -> Iterator[tuple[str, str]]:
    """Names in the order of the list, and what is to be known of each."""
    for group, entries in groups().items():
        for entry in entries:
            size = f", {entry.download_mb:.0f} MB" if entry.download_mb and group != NO_DOWNLOAD else ""
            aspect = "aesthetics" if entry.aesthetic else "technical quality"
            yield entry.name, f"{group}: {aspect}, {'higher' if entry.higher_is_better else 'lower'} is better{size}"


def _group(entry: Entry) -> str:
    if not entry.weights or entry.name == QUICKSTART:
        return NO_DOWNLOAD
    return FIRST_CHOICE if entry.name in RECOMMENDED else OTHERS
