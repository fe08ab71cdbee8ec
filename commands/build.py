"""``iqa.py build``: the weights of the quickstart, made from nothing."""

from __future__ import annotations

import argparse
from pathlib import Path

from .processes import start_comfyui

SUMMARY = "make the embedded models from nothing (hours to days)"
WORK = Path(".runtime/quickstart")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = """Make the weights of the quickstart from nothing, stage by stage. Every stage keeps what it
has done in the work folder and goes on from there when it is started again."""
    stages = ["scenes", "base", "iqa", "reader", "score", "reference", "export"]
    parser.add_argument("--stage", choices=stages, help="only this stage (default: all, in order)")
    parser.add_argument("--steps", type=int, help="training steps (scenes: pictures; iqa, reader: epochs)")
    parser.add_argument("--minutes", type=float, help="of the stage base: as many steps as that allows")
    parser.add_argument("--work", type=Path, default=WORK, help="work folder (default: %(default)s)")


def run(options: argparse.Namespace) -> None:
    start_comfyui()
    from iqa_adapter.quickstart.making.build import build

    build(options.work, options.stage, options.steps, options.minutes)
