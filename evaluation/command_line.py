"""What ``iqa.py evaluate`` and ``iqa.py vote`` do."""

from __future__ import annotations

import argparse
import logging
import signal
import sys

from safetensors import SafetensorError
from tqdm import tqdm

from ..training.memory import TrainingOutOfMemory
from ..training.processes import is_main
from .base import Embedded
from .evaluate import estimated, evaluate
from .pages import REPORT, publish
from .plan import QUICKSTART_PLAN
from .report import RESULTS
from .voting import vote

INTERRUPTED = 130  # exit status of a shell's commands after Ctrl-C
MISTAKES = (ValueError, OSError, ImportError, SafetensorError, TrainingOutOfMemory, MemoryError)


def run(arguments: argparse.Namespace, embedded: Embedded) -> int:
    """Carry out a plan, or collect votes on its pictures.

    Args:
        arguments: of one of the two.
        embedded: models beside those of files, by name.

    Returns:
        Exit status: 0, 1 after an error that the user can mend, 130 after an interruption.
    """
    logging.getLogger().setLevel(logging.WARNING)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a cluster's time limit
    try:
        plan, work = arguments.plan or QUICKSTART_PLAN, arguments.work
        if arguments.command == "vote":
            vote(plan, work, arguments.adapter, arguments.port, embedded, tqdm.write)
            return 0
        if arguments.estimate:
            print(estimated(plan, work, embedded))
            return 0
        folder = arguments.report or (REPORT if arguments.publish == "readme" else None)
        report = evaluate(plan, work, folder, embedded)
        if report and arguments.publish and is_main():
            publish(arguments.publish, report.parent / RESULTS)
    except KeyboardInterrupt:
        tqdm.write("Interrupted; what was made is kept. Start the same command again to go on.")
        return INTERRUPTED
    except MISTAKES as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    if is_main():
        tqdm.write(f"Report: {report}")
    return 0
