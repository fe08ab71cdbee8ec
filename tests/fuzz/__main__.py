"""Searches for hostile files that are not read or refused as they should be: ``python -m tests.fuzz --minutes 10``."""

from __future__ import annotations

import argparse
import shlex
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import logging

import torch

from .parsers import all_parsers
from .search import Search
from .trial import Wrong, clock, never_stuck, try_file


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m tests.fuzz", description=__doc__)
    parser.add_argument("--minutes", type=float, default=2, help="time in all; parsers take turns")
    parser.add_argument("--parser", action="append", help="only these; may be given several times")
    parser.add_argument("--file", type=Path, help="read this file, with the parser of --parser, and no other")
    given = parser.parse_args()
    known = {one.name: one for one in all_parsers()}
    if unknown := set(given.parser or ()) - known.keys():
        parser.error(f"there is no parser {', '.join(unknown)}; there are {', '.join(known)}")
    given.parsers = [known[name] for name in given.parser or known]
    if given.file and len(given.parsers) != 1:
        parser.error("--file needs one --parser")
    return given


def main() -> int:
    """Exit status: 1 where a file was not refused as it should be."""
    given = parse()
    logging.disable(logging.CRITICAL)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(prefix="fuzz") as folder, never_stuck() as alive:
        if given.file:
            alive()
            try:
                try_file(given.parsers[0], Path(folder), given.file.read_bytes())
            except Wrong as problem:
                sys.exit(f"{given.file}: {problem}")
            print(f"{given.file} was read, or refused as it should be.")
            return 0
        print(f"Files are read in {folder}; if one ends this process, it stays there.", flush=True)
        searches = [Search(parser, Path(folder)) for parser in given.parsers]
        search_all(searches, clock() + 60 * given.minutes, alive)
    report(searches)
    return int(any(search.found for search in searches))


def search_all(searches: list[Search], end: float, alive: Callable[[], None]) -> None:
    """Whose turn it is: the one's that had the least time so far. One that found something needs no other."""
    while clock() < end and (left := [search for search in searches if not search.found]):
        search = min(left, key=lambda one: one.seconds)
        search.turn(alive)
        for path, problem in search.found.items():
            again = shlex.join(["python", "-m", "tests.fuzz", "--parser", search.parser.name, "--file", str(path)])
            print(f"{search.parser.name} ({len(problem.data)} bytes): {problem}\n  again: {again}", flush=True)


def report(searches: list[Search]) -> None:
    print("| parser | files | past the first look | milliseconds each |\n| --- | --- | --- | --- |")
    for one in searches:
        each = max(1, one.files)
        print(f"| {one.parser.name} | {one.files:,} | {one.past / each:.0%} | {1000 * one.seconds / each:.1f} |")
    files, found = sum(one.files for one in searches), sum(len(one.found) for one in searches)
    print(f"{files:,} files, {found} not read or refused as they should be.")


if __name__ == "__main__":
    sys.exit(main())
