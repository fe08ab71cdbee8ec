"""Arguments that several commands take, and what there is in an installed pack."""

from __future__ import annotations

import argparse
from pathlib import Path

PICTURES = """folder of pictures with captions (name.txt beside name.png, or metadata.jsonl with file_name and text),
folder of WebDataset .tar shards or Parquet files with pictures, or one of these files"""

# Commands whose code is in the repository and not in an installed pack (.comfyignore)
OF_THE_REPOSITORY = {"build": "quickstart/making", "docs": "documentation"}


def is_here(command: str) -> bool:
    """Whether the code of a command, or what it writes into, came with this pack."""
    return (Path(__file__).parent.parent / OF_THE_REPOSITORY.get(command, "")).is_dir()


def add_plan(parser: argparse.ArgumentParser, what: str) -> None:
    """A plan of an evaluation, and the folder of its pictures."""
    parser.add_argument(
        "plan", type=Path, nargs="?", metavar="PLAN.yaml", help=f"{what} (default: the embedded models)"
    )
    parser.add_argument(
        "--work", type=Path, default=Path(".runtime/evaluation"),
        help="keeps pictures, scores, votes (default: %(default)s)",
    )  # fmt: skip
