"""Does gradient guidance move its metric? Guided and unguided pictures of the quickstart, with the same seeds.

    python -m benchmarks.guidance                         # 64 pairs of prompt and seed
    python -m benchmarks.guidance --pairs 8               # quicker
    python -m benchmarks.guidance --route prediction      # the cheap route alone
    python -m benchmarks.guidance --keep guidance.jsonl   # goes on where it was ended

Prints, for both routes and both directions, in how many pairs the score moves the right way, and by how much. The
metric set aside is piqe (lower is better), which knows nothing of the guiding one. The diffusion model runs in bfloat16
where the processor is faster at it.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch

from benchmarks.measure import table
from benchmarks.pairs import Quickstart, each_pair
from iqa_adapter.guidance.gradient import apply_gradient_guidance

ROUTES = {"prediction": False, "through the model": True}
AT_ONCE = 16  # pairs
DIRECTIONS = {"better": True, "worse": False}
HEADER = ["route", "direction", "scale", "moved as asked", "mean change", "piqe, mean change"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=64, help="of prompt and seed")
    parser.add_argument("--scale", type=float, default=1.0, help="of guidance")
    parser.add_argument("--end", type=float, default=1.0, help="part of the sampling at which it stops to act")
    parser.add_argument("--metric", default="quickstart_iqa", help="that guides")
    parser.add_argument("--route", action="append", choices=ROUTES, help="of the gradient; both unless it is given")
    parser.add_argument("--keep", type=Path, help="JSON lines of finished pairs, with which a run goes on")
    options = parser.parse_args()
    quickstart, rows = Quickstart(options.metric, "piqe"), []
    for route in options.route or ROUTES:
        settings = {"route": route, "scale": options.scale, "end": options.end, "metric": options.metric}

        def measure(pairs: list[int], through_model: bool = ROUTES[route]) -> list[dict[str, list[float]]]:
            return changes(quickstart, pairs, through_model, options.scale, options.end)

        with torch.inference_mode():
            found = each_pair(options.pairs, measure, options.keep, settings, AT_ONCE)
        rows += described(found, route, options.scale, quickstart.searched.entry.higher_is_better)
    print(table(HEADER, rows))


def changes(
    quickstart: Quickstart, pairs: Sequence[int], through_model: bool, scale: float, end: float
) -> list[dict[str, list[float]]]:
    """Of each pair, by direction: how far guidance moves the guiding metric and the one set aside."""
    model = quickstart.fast()
    plain = quickstart.scores(quickstart.drawn(pairs, model))
    moved = {}
    for direction, better in DIRECTIONS.items():
        options = {"maximise": better, "through_model": through_model, "end_percent": end}
        guided = apply_gradient_guidance(model, quickstart.vae, quickstart.searched, scale, **options)
        moved[direction] = quickstart.scores(quickstart.drawn(pairs, guided)) - plain
    return [{direction: change[number].tolist() for direction, change in moved.items()} for number in range(len(pairs))]


def described(found: list[dict], route: str, scale: float, higher_is_better: bool) -> list[list[str]]:
    """Rows of the table."""
    rows = []
    for direction, better in DIRECTIONS.items():
        change = torch.tensor([pair[direction] for pair in found], dtype=torch.float64)
        right = (change[:, 0] > 0) if better == higher_is_better else (change[:, 0] < 0)
        mean = change.nanmean(0)
        rows.append([
            route, direction, f"{scale:g}", f"{right.sum()} of {len(found)} ({right.double().mean():.0%})",
            f"{mean[0]:+.3f}", f"{mean[1]:+.2f}",
        ])  # fmt: skip
    return rows


if __name__ == "__main__":
    main()
