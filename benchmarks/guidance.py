"""Does gradient guidance move its metric? Guided and unguided pictures of the quickstart, with the same seeds.

    python -m benchmarks.guidance               # 64 pairs of prompt and seed
    python -m benchmarks.guidance --pairs 8     # quicker

Prints, for both routes and both directions, in how many pairs the score moves the right way, and by how much. The
metric set aside is piqe (lower is better), which knows nothing of the guiding one.
"""

from __future__ import annotations

import argparse

import comfy.sample
import torch
from torch import Tensor

from benchmarks.measure import table
from benchmarks.pairs import Quickstart
from iqa_adapter.guidance.gradient import apply_gradient_guidance

HEADER = ["route", "direction", "scale", "moved as asked", "mean change", "piqe, mean change"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=64, help="of prompt and seed")
    parser.add_argument("--scale", type=float, default=1.0, help="of guidance")
    parser.add_argument("--end", type=float, default=1.0, help="part of the sampling at which it stops to act")
    parser.add_argument("--metric", default="quickstart_iqa", help="that guides")
    options = parser.parse_args()
    quickstart = Quickstart(options.metric, "piqe")
    with torch.inference_mode():
        print(guidance(quickstart, options.pairs, options.scale, options.end))


def guidance(quickstart: Quickstart, pairs: int, scale: float, end: float) -> str:
    """The table."""
    plain, rows = _scores(quickstart, quickstart.model, pairs), []
    for through_model in (False, True):
        for maximise in (True, False):
            options = {"maximise": maximise, "through_model": through_model, "end_percent": end}
            guided = apply_gradient_guidance(quickstart.model, quickstart.vae, quickstart.searched, scale, **options)
            change = _scores(quickstart, guided, pairs) - plain
            right = (change[:, 0] > 0) == (maximise == quickstart.searched.entry.higher_is_better)
            mean = change.nanmean(0)
            rows.append([
                "through the model" if through_model else "prediction", "better" if maximise else "worse", f"{scale:g}",
                f"{right.sum()} of {pairs} ({right.double().mean():.0%})", f"{mean[0]:+.3f}", f"{mean[1]:+.2f}",
            ])  # fmt: skip
            print(rows[-1], flush=True)
    return table(HEADER, rows)


def _scores(quickstart: Quickstart, model, pairs: int) -> Tensor:
    """Searched metric and the one set aside, ``[pairs, 2]``."""
    latents = []
    for number in range(pairs):
        latent = torch.zeros(1, *quickstart.shape)
        guider = quickstart.guider(number, model)
        noise = comfy.sample.prepare_noise(latent, number)
        latents.append(
            guider.sample(noise, latent, quickstart.sampler, quickstart.sigmas, disable_pbar=True, seed=number)
        )
    return quickstart.scores(torch.cat(latents))


if __name__ == "__main__":
    main()
