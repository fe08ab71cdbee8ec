"""The command line's arguments; imports nothing heavy, so that --help and mistakes are answered at once."""

from __future__ import annotations

import argparse
from pathlib import Path

DESCRIPTION = """Make IQA-Adapters: score a set of pictures, then train on it.

  python -m training score photos/ tables/photos --metrics topiq_nr laion_aes
  python -m training train photos/ tables/photos my_adapter --checkpoint sd_xl_base_1.0.safetensors

Several processes share the work under `torchrun --nproc_per_node 8 -m training ...` or `accelerate launch ...`. Both
commands go on where they were when they are started again after an interruption."""

PICTURES = """folder of pictures with captions (name.txt beside name.png, or metadata.jsonl with file_name and text),
folder of WebDataset .tar shards, or one shard"""

TRAIN = """Train an adapter on scored pictures. It is written to models/iqa_adapter/, where Load IQA-Adapter finds it.
Ctrl-C writes a checkpoint and ends; the same command goes on from it."""


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """``command`` is ``score`` or ``train``; the other attributes are the arguments' names."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="python -m training", description=DESCRIPTION, formatter_class=raw)
    commands = parser.add_subparsers(dest="command", required=True, metavar="score | train")
    _score(commands.add_parser("score", help="pictures -> table of scores or activations"))
    _train(commands.add_parser("train", help="pictures and their table -> adapter", description=TRAIN))
    return parser.parse_args(arguments)


def _score(parser: argparse.ArgumentParser) -> None:
    parser.description = "Score pictures into a table; captions are not needed here."
    parser.add_argument("pictures", type=Path, help=PICTURES)
    parser.add_argument("table", type=Path, help="folder of the table, made if there is none")
    kind = parser.add_mutually_exclusive_group(required=True)
    kind.add_argument("--metrics", nargs="+", metavar="METRIC", help="for a score-based adapter: pyiqa's metric names")
    kind.add_argument("--features", metavar="MODEL", help="for a reference-based adapter: IQA model to take apart")
    parser.add_argument("--layer", default="", help="of --features (default: the catalogue's)")
    parser.add_argument("--pooling", default="", choices=["", "mean", "max", "mean+std", "none"], help="of --features")
    parser.add_argument(
        "--protocol", default="512", choices=["512", "as is"],
        help="scale pictures to 512x512 first, as the released adapters' were, or take them as they are (default: 512)",
    )  # fmt: skip
    parser.add_argument("--shard-size", type=int, default=1000, help="pictures per file of the table (default: 1000)")


def _train(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("pictures", type=Path, help=PICTURES)
    parser.add_argument("table", type=Path, help="folder of their table, from `python -m training score`")
    parser.add_argument("name", help="of the adapter: models/iqa_adapter/NAME.safetensors")
    parser.add_argument(
        "--checkpoint", required=True,
        help="base model with UNet, text encoder and VAE: a name in models/checkpoints/, a path, or `quickstart` for "
        "the embedded tiny model",
    )  # fmt: skip
    parser.add_argument("--settings", type=Path, help="YAML file, see training/examples/ (default: the paper's)")
    parser.add_argument(
        "--set", nargs="+", default=[], metavar="SETTING=VALUE",
        help="settings that win over the file's, for example steps=2000 batch_size=4",
    )  # fmt: skip
    # not --run: torchrun takes that for its own
    parser.add_argument("--folder", type=Path, help="of checkpoint, log, samples (default: output/iqa_training/NAME)")
    parser.add_argument("--anew", action="store_true", help="begin again instead of going on from the run's checkpoint")
    parser.add_argument("--from-adapter", type=Path, help="start from this adapter instead of the model's own weights")
