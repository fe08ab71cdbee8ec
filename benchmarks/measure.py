"""Side-by-side timing: the candidates take turns in one run, so that a noisy machine disturbs them alike."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence


def side_by_side(
    candidates: dict[str, Callable[[], object]], rounds: int, clock: Callable[[], float] = time.perf_counter
) -> dict[str, float]:
    """Median seconds of each candidate over ``rounds`` turns, after one turn that is not counted.

    Args:
        clock: ``time.process_time`` counts what the process computes on a CPU, not the work of others beside it.
    """
    seconds = {name: [] for name in candidates}
    for turn in range(rounds + 1):
        for name, candidate in candidates.items():
            start = clock()
            candidate()
            _synchronise()
            if turn:
                seconds[name].append(clock() - start)
    return {name: statistics.median(times) for name, times in seconds.items()}


def peak_memory(code: str) -> tuple[float, int]:
    """Run ``code`` in a process of its own; what its ``mark()`` calls saw.

    ``code`` calls ``mark()`` before and after what is measured.

    Returns:
        Seconds between the marks, and the bytes by which the process's peak memory rose.
    """
    preamble = (
        "import time\n"
        "marks = []\n"
        "def mark():\n"
        "    peak = next(line for line in open('/proc/self/status') if line.startswith('VmHWM'))\n"
        "    marks.append((time.perf_counter(), int(peak.split()[1]) * 1024))\n"
    )
    report = "\n(a, b) = marks\nprint('MEASURED', b[0] - a[0], b[1] - a[1])\n"
    command = [sys.executable, "-c", preamble + code + report]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    _, seconds, size = next(line for line in output.splitlines() if line.startswith("MEASURED")).split()
    return float(seconds), int(size)


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Aligned text table."""
    widths = [max(len(row[column]) for row in [header, *rows]) for column in range(len(header))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in [header, *rows]]
    return "\n".join(line.rstrip() for line in lines)


def _synchronise() -> None:
    import torch

    if torch.cuda.is_available():
        torch.cuda.synchronize()
