"""Tries hostile files until the time is over: ``python -m tests.fuzz --minutes 10``."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import logging

import torch

from .parsers import Parser, all_parsers
from .trial import clock, never_stuck, wrong

AT_ONCE = 50  # inputs of a parser, then come those of the next


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m tests.fuzz", description=__doc__)
    parser.add_argument("--minutes", type=float, default=2, help="time in all")
    parser.add_argument("--inputs", type=int, default=0, help="inputs of each parser, whatever time that takes")
    parser.add_argument("--first", type=int, default=0, help="number of the first input")
    parser.add_argument("--parser", action="append", help="only these; may be given several times")
    return parser.parse_args()


def main() -> int:
    """Exit status: 1 where a file was not refused as it should be."""
    given = parse()
    parsers = [one for one in all_parsers() if not given.parser or one.name in given.parser]
    logging.disable(logging.CRITICAL)
    torch.set_num_threads(1)
    spent = dict.fromkeys(parsers, 0.0)
    done, past, found = dict.fromkeys(parsers, 0), dict.fromkeys(parsers, 0), []
    end, first = clock() + 60 * given.minutes, given.first
    with tempfile.TemporaryDirectory(prefix="fuzz") as folder, never_stuck() as alive:
        while (first < given.first + given.inputs) if given.inputs else clock() < end:
            count = min(AT_ONCE, given.first + given.inputs - first) if given.inputs else AT_ONCE
            for parser in parsers:
                began = clock()
                for number in range(first, first + count):
                    alive()
                    data = parser.input(number)
                    done[parser] += 1
                    past[parser] += parser.past(data)
                    if problem := wrong(parser, Path(folder), data):
                        found.append(problem)
                        print(f"{parser.name} {number} ({len(data)} bytes): {problem}", flush=True)
                spent[parser] += clock() - began
            first += count
    report(done, past, spent)
    print(f"{sum(done.values())} files, {len(found)} not read or refused as they should be.")
    return int(bool(found))


def report(done: dict[Parser, int], past: dict[Parser, int], spent: dict[Parser, float]) -> None:
    print("| parser | files | past the first look | milliseconds each |\n| --- | --- | --- | --- |")
    for parser, count in done.items():
        each = max(1, count)
        print(f"| {parser.name} | {count:,} | {past[parser] / each:.0%} | {1000 * spent[parser] / each:.1f} |")


if __name__ == "__main__":
    sys.exit(main())
