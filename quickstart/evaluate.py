"""``python -m quickstart.evaluate``: measures the quickstart's models, prints the tables, writes them into the card."""

from __future__ import annotations

import argparse
from pathlib import Path


def main() -> None:
    from .evaluation import evaluate, write_into_card
    from .evaluation_world import SEEDS_PER_PROMPT, World
    from .model import WEIGHTS

    parser = argparse.ArgumentParser(prog="python -m quickstart.evaluate", description=__doc__)
    parser.add_argument("--pictures", type=int, default=256, help=f"per cell, a multiple of {SEEDS_PER_PROMPT}")
    parser.add_argument("--weights", type=Path, default=WEIGHTS, help="folder of the weights")
    parser.add_argument("--work", type=Path, default=Path(".runtime/quickstart/evaluation"), help="keeps the pictures")
    parser.add_argument("--no-card", action="store_true", help="only print")
    options = parser.parse_args()
    text = evaluate(World(options.weights, options.pictures, options.work))
    print(text)
    if not options.no_card:
        write_into_card(text)


if __name__ == "__main__":
    from comfyui_runtime import room

    room("quickstart.evaluate").main()
