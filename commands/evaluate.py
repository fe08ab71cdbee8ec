"""``iqa.py evaluate``: a plan is carried out and reported."""

from __future__ import annotations

import argparse
from pathlib import Path

from .arguments import add_plan, is_here
from .processes import process_group

SUMMARY = "measure what adapters do to a base model: plan -> report"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = """Carry out a plan: sample a base model with and without adapters at the same prompts and
seeds, measure every picture, and write a report of the experiments that the plan names. The same command goes on where
it was; pictures and scores are shared by experiments and plans. Plans that come with the pack, and every setting:
evaluation/plans/."""
    add_plan(parser, "what is evaluated")
    parser.add_argument("--report", type=Path, metavar="FOLDER", help="of the report (default: WORK/reports/PLAN)")
    parser.set_defaults(publish=None)
    if is_here("docs"):
        parser.add_argument(
            "--publish", choices=["readme", "card"],
            help="also write the figures into README.md, with the report in docs/evaluation, or into the model card",
        )  # fmt: skip
    parser.add_argument("--estimate", action="store_true", help="only say what it would take on one GPU, counted")


def run(options: argparse.Namespace) -> int:
    with process_group():
        from iqa_adapter.evaluation.command_line import run
        from iqa_adapter.quickstart.model import load_quickstart

        return run(options, {"quickstart": load_quickstart})
