"""``iqa.py vote``: people judge pairs of a plan's pictures."""

from __future__ import annotations

import argparse

from .arguments import add_plan
from .evaluate import run as run

SUMMARY = "a page where people say which of two pictures is better"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = """Serve a page on this computer that shows pairs of pictures of the same prompt and seed, and
asks which is better, without telling what made them: a score adapter at its highest, middle and lowest level, or the
base model. Ctrl-C ends it with Bradley-Terry scores of all votes; the experiment `preference` of `iqa.py evaluate`
shows them. Everybody goes on where he was."""
    add_plan(parser, "whose pictures are judged")
    parser.add_argument("--adapter", default="", help="name in the plan (default: its first score adapter)")
    parser.add_argument("--port", type=int, default=0, help="of the page (default: a free one)")
