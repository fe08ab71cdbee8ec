"""Does gradient guidance move its metric? Guided and unguided pictures of the quickstart, with the same seeds.

    python -m benchmarks.guidance                         # 64 pairs of prompt and seed
    python -m benchmarks.guidance --pairs 8               # quicker
    python -m benchmarks.guidance --keep guidance.jsonl   # goes on where it was ended

Prints, for both routes and both directions, in how many pairs the score moves the right way, and by how much. The
metric set aside is piqe (lower is better), which knows nothing of the guiding one.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import comfy.sample
import torch
from torch import Tensor

from benchmarks.measure import table
from benchmarks.pairs import Quickstart, each_pair
from iqa_adapter.guidance.gradient import apply_gradient_guidance

ROUTES = {"prediction": False, "through the model": True}
DIRECTIONS = {"better": True, "worse": False}
HEADER = ["route", "direction", "scale", "moved as asked", "mean change", "piqe, mean change"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=64, help="of prompt and seed")
    parser.add_argument("--scale", type=float, default=1.0, help="of guidance")
    parser.add_argument("--end", type=float, default=1.0, help="part of the sampling at which it stops to act")
    parser.add_argument("--metric", default="quickstart_iqa", help="that guides")
    parser.add_argument("--keep", type=Path, help="JSON lines of finished pairs, with which a run goes on")
    options = parser.parse_args()
    quickstart = Quickstart(options.metric, "piqe")
    settings = {"scale": options.scale, "end": options.end, "metric": options.metric}
    with torch.inference_mode():
        found = each_pair(
            options.pairs, lambda pair: changes(quickstart, pair, options.scale, options.end), options.keep, settings
        )
    print(described(found, options.scale, quickstart.searched.entry.higher_is_better))


def changes(quickstart: Quickstart, pair: int, scale: float, end: float) -> dict[str, dict[str, list[float]]]:
    """By route and direction: how far guidance moves the guiding metric and the one set aside."""
    plain = _scores(quickstart, quickstart.model, pair)

    def change(through_model: bool, maximise: bool) -> list[float]:
        options = {"maximise": maximise, "through_model": through_model, "end_percent": end}
        guided = apply_gradient_guidance(quickstart.model, quickstart.vae, quickstart.searched, scale, **options)
        return (_scores(quickstart, guided, pair) - plain).tolist()

    return {route: {way: change(through, up) for way, up in DIRECTIONS.items()} for route, through in ROUTES.items()}


def described(found: list[dict], scale: float, higher_is_better: bool) -> str:
    """The table."""
    rows = []
    for route in ROUTES:
        for direction, better in DIRECTIONS.items():
            change = torch.tensor([pair[route][direction] for pair in found], dtype=torch.float64)
            right = (change[:, 0] > 0) if better == higher_is_better else (change[:, 0] < 0)
            mean = change.nanmean(0)
            rows.append([
                route, direction, f"{scale:g}", f"{right.sum()} of {len(found)} ({right.double().mean():.0%})",
                f"{mean[0]:+.3f}", f"{mean[1]:+.2f}",
            ])  # fmt: skip
    return table(HEADER, rows)


def _scores(quickstart: Quickstart, model, pair: int) -> Tensor:
    """Of the searched metric and the one set aside, ``[2]``."""
    latent = torch.zeros(1, *quickstart.shape)
    noise = comfy.sample.prepare_noise(latent, pair)
    sampling = quickstart.sampler, quickstart.sigmas
    return quickstart.scores(
        quickstart.guider(pair, model).sample(noise, latent, *sampling, disable_pbar=True, seed=pair)
    )[0]


if __name__ == "__main__":
    main()
