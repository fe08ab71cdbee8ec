"""``iqa.py score``: a set of pictures is scored into a table."""

from __future__ import annotations

import argparse
from pathlib import Path

from .arguments import PICTURES
from .processes import process_group

SUMMARY = "pictures -> table of their scores, or activations"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = """Score pictures into a table; captions are not needed here. The same command goes on where
it was: pictures that came later or were replaced are scored, renamed ones keep their rows, rows of deleted ones are
dropped.

--import makes a table of scores that you have: opinions of people, a metric of your own, or the paper's files.

  python iqa.py score photos/ tables/mos --import mos.csv --key file --columns mos:higher
  python iqa.py score photos/ tables/both --import all.parquet --key path --columns sharpness:higher noise:lower
  python iqa.py score cc3m/ tables/paper --import cc3m.ft --key image_file --columns topiq_nr laion_aes"""
    parser.add_argument("pictures", type=Path, help=PICTURES)
    parser.add_argument("table", type=Path, help="folder of the table, made if there is none")
    kind = parser.add_mutually_exclusive_group(required=True)
    kind.add_argument("--metrics", nargs="+", metavar="METRIC", help="for a score-based adapter: names of metrics")
    kind.add_argument("--features", metavar="MODEL", help="for a reference adapter: activations of this IQA model")
    kind.add_argument(
        "--import", dest="scores", type=Path, metavar="FILE",
        help="for a score-based adapter: scores from a CSV, TSV, Parquet or Feather file",
    )  # fmt: skip
    parser.add_argument(
        "--key", default="", metavar="COLUMN",
        help="of --import: column that names the pictures, with or without folders and ending (default: file_name, "
        "file, image or the like)",
    )  # fmt: skip
    parser.add_argument(
        "--columns", nargs="+", default=[], metavar="COLUMN:higher",
        help="of --import: columns of scores, as COLUMN[=NAME][:higher|lower][:technical|aesthetic]: the metric's name "
        "if it is to have another, which of its scores are the better ones, and what it judges (default: technical). "
        "Of metrics that --metrics knows the name is enough; METRIC_normalized of the paper's files becomes METRIC in "
        "its own unit",
    )  # fmt: skip
    parser.add_argument("--layer", default="", help="of --features (default: the catalogue's)")
    parser.add_argument("--pooling", default="", choices=["", "mean", "max", "mean+std", "none"], help="of --features")
    parser.add_argument(
        "--resize", "--protocol", dest="resize", choices=["512", "64", "as is"],
        help="how pictures are scaled before an IQA model sees them: to 512x512 pixels, as for the released adapters, "
        "to 64x64, as for the quickstart, or not at all (default: 512; of --import: not known)",
    )  # fmt: skip
    parser.add_argument("--shard-size", type=int, default=1000, help="pictures per file of the table (default: 1000)")
    parser.add_argument(
        "--memory", type=float, default=1.0, metavar="GIB",
        help="GiB of main memory for decoded pictures that wait to be scored, beside the IQA models; a picture that "
        "is larger is read alone (default: 1)",
    )  # fmt: skip


def run(options: argparse.Namespace) -> int:
    with process_group():
        from iqa_adapter.training.command_line import run

        return run(options, {})
