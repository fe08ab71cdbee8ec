"""What search buys: score against evaluations of the model, beside the adapter at 99 %, and what search itself costs.

    python -m benchmarks.search                        # 64 pairs of prompt and seed
    python -m benchmarks.search --pairs 8 --budget 8   # quicker
    python -m benchmarks.search --keep search.jsonl    # goes on where it was ended
    python -m benchmarks.search --write                # and keeps the numbers, from which `iqa.py docs` draws

The embedded model is searched for quickstart_iqa; piqe (lower is better) is set aside. Every pair is a prompt that the
model has not been trained on and a first seed of its own, the same for all methods. Sampled in bfloat16 where the
processor is faster at it; times are taken in float32.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import comfy.model_management
import comfy.sample
import torch
from comfy.patcher_extension import WrappersMP
from torch import Tensor

from benchmarks.measure import side_by_side, table
from benchmarks.pairs import Quickstart, each_pair
from iqa_adapter.adapter.apply import apply_adapter
from iqa_adapter.adapter.checkpoint import load_adapter
from iqa_adapter.adapter.tokens import embed_quality
from iqa_adapter.files import write_json
from iqa_adapter.guidance.judge import Judge
from iqa_adapter.guidance.runs import Sampling
from iqa_adapter.guidance.search import BEST_OF, HALVING, LOCAL, Found, Settings, search
from iqa_adapter.quality.targets import sliders
from iqa_adapter.quickstart.adapters import SCORE
from iqa_adapter.quickstart.model import WEIGHTS
from iqa_adapter.quickstart.precision import autocast

NUMBERS = Path(__file__).resolve().parent.parent / "documentation" / "search.json"
ADAPTED = f"adapter at 99 %, {BEST_OF}"
AT_ONCE = 8
QUALITY, COLOURFULNESS = 99, 50  # percentiles that the adapter is asked for
SEEDS = 1000  # between the first seeds of two pairs
OVERHEAD_OF, ROUNDS = 4, 5  # samplings of a search that is timed, and turns

Curves = dict[str, dict[int, Tensor]]  # by method and samplings: scores [pairs, 2], searched and set aside


class NoProgress:
    def update_absolute(self, *_values) -> None:
        pass


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=64, help="of prompt and seed")
    parser.add_argument("--budget", type=int, default=16, help="largest one, in samplings: 8 or another power of 2")
    parser.add_argument("--metric", default="quickstart_iqa", help="that is searched for")
    parser.add_argument("--aside", default="piqe", help="that is set aside")
    parser.add_argument("--first", type=float, default=0.25, help="of halving: steps before the first judgement")
    parser.add_argument("--keep", type=Path, help="JSON lines of finished pairs, with which a run goes on")
    parser.add_argument("--write", action="store_true", help="keep the numbers in documentation/search.json")
    options = parser.parse_args()
    settings = {name: getattr(options, name) for name in ("budget", "metric", "aside", "first")}
    quickstart = Quickstart(options.metric, options.aside)
    with torch.inference_mode():
        on_pair = Searches(quickstart, options.budget, options.first)
        curves = curves_of(each_pair(options.pairs, on_pair, options.keep, settings))
        steps = len(quickstart.sigmas) - 1
        print(described(curves, steps, options.metric, options.aside), "\n")
        print(a_third(curves, options.budget), "\n")
        print(overhead(quickstart))
    if options.write:
        write_json(NUMBERS, numbers(curves, steps, quickstart))
        print(f"\n{NUMBERS}; python iqa.py docs draws it")


def in_fast_precision(executor, *arguments, **options):
    """A wrapper of the diffusion model alone: metrics are computed in float32."""
    with autocast():
        return executor(*arguments, **options)


class Searches:
    """Every method on one pair.

    Args:
        budget: largest, in samplings.
        first: of halving, part of the steps before the first judgement.
    """

    def __init__(self, quickstart: Quickstart, budget: int, first: float):
        self.quickstart, self.budget, self.first = quickstart, budget, first
        self.budgets = sorted({2**power for power in range(1, budget.bit_length())} | {max(2, budget // 3)})
        self.halved = sorted({2, max(2, budget // 3), budget})
        self.judge = Judge((quickstart.searched,), (1.0,), quickstart.aside)
        self.model = quickstart.model.clone()
        self.model.add_wrapper(WrappersMP.APPLY_MODEL, in_fast_precision)
        adapter = load_adapter(WEIGHTS / SCORE.file)
        best = torch.tensor([sliders(adapter.metadata.metrics, QUALITY, COLOURFULNESS)])
        self.adapted = apply_adapter(self.model, embed_quality(adapter, best), SCORE.strength)

    def __call__(self, pair: int) -> dict[str, list[list[float]]]:
        """By method: samplings, and then scores of the best picture, of the searched metric and of the one set aside.

        Best of N and local search are one run each, looked at after every budget; halving is a run for each of a few.
        """
        found = {}
        for name, method, model in (
            (BEST_OF, BEST_OF, self.model),
            (LOCAL, LOCAL, self.model),
            (ADAPTED, BEST_OF, self.adapted),
        ):
            (ledger,) = self._found(pair, method, self.budget, model).ledgers
            best = {count: ledger.values[: count][self.judge.best(ledger.values[: count], 1)[0]]
                    for count in (1, *self.budgets)}  # fmt: skip
            found[name] = [[count, *values.tolist()] for count, values in best.items()]
        halved = {count: self._found(pair, HALVING, count, self.model) for count in self.halved}
        found[HALVING] = [[count, *each.kept[0][0].values.tolist()] for count, each in halved.items()]
        return found

    def _found(self, pair: int, method: str, budget: int, model) -> Found:
        quickstart = self.quickstart
        latent = {"samples": torch.zeros(1, *quickstart.shape)}
        guider = quickstart.guider(pair, model)
        sampling = Sampling(guider, quickstart.sampler, quickstart.sigmas, latent, AT_ONCE)
        settings = Settings(method, budget, 1, SEEDS * pair, first=self.first)
        return search(sampling, quickstart.vae, self.judge, settings, NoProgress())


def curves_of(found: list[dict[str, list[list[float]]]]) -> Curves:
    return {
        name: {
            int(row[0]): torch.tensor([pair[name][number][1:] for pair in found], dtype=torch.float64)
            for number, row in enumerate(rows)
        }
        for name, rows in found[0].items()
    }


def mean(values: Tensor) -> tuple[float, float, float]:
    """Of ``[pairs, 2]``: mean and its standard error of the searched metric, and mean of the one set aside."""
    return values[:, 0].mean().item(), _error(values[:, 0]), values[:, 1].nanmean().item()


def described(curves: Curves, steps: int, metric: str, aside: str) -> str:
    """The table."""
    rows = []
    for name, curve in curves.items():
        for count, values in curve.items():
            score, error, other = mean(values)
            rows.append([name, str(count * steps), f"{score:.4f} +- {error:.4f}", f"{other:.2f}"])
    return table(["method", "evaluations", metric, f"{aside}, set aside"], rows)


def a_third(curves: Curves, budget: int) -> str:
    """Successive halving beside best of N with three times its evaluations, pair by pair."""
    whole, third = curves[BEST_OF][budget][:, 0], max(2, budget // 3)
    part, same = (curves[name][third][:, 0] - whole for name in (HALVING, BEST_OF))
    return (
        f"beside {BEST_OF} with {budget} samplings (standard error {_error(whole):.4f}), pair by pair: {HALVING} with "
        f"the evaluations of {third} {part.mean():+.4f} +- {_error(part):.4f}, {BEST_OF} with {third} "
        f"{same.mean():+.4f} +- {_error(same):.4f}"
    )


def overhead(quickstart: Quickstart) -> str:
    """Computing time of a search beside that of as many samplings, all one at a time."""
    guider, latent = quickstart.guider(0), torch.zeros(1, *quickstart.shape)
    judge = Judge((quickstart.searched,), (1.0,))

    def sampled() -> list[Tensor]:
        return [
            guider.sample(
                comfy.sample.prepare_noise(latent, seed), latent, quickstart.sampler, quickstart.sigmas,
                disable_pbar=True, seed=seed,
            )
            for seed in range(OVERHEAD_OF)
        ]  # fmt: skip

    def judged() -> None:
        for result in sampled():
            judge([quickstart.vae.decode(result)])

    def searched(method: str) -> None:
        sampling = Sampling(guider, quickstart.sampler, quickstart.sigmas, {"samples": latent}, 1)
        search(sampling, quickstart.vae, judge, Settings(method, OVERHEAD_OF), NoProgress())

    candidates = {
        "samplings": sampled,
        "samplings, decoded and scored": judged,
        BEST_OF: lambda: searched(BEST_OF),
        LOCAL: lambda: searched(LOCAL),
    }
    on_cpu = comfy.model_management.get_torch_device().type == "cpu"
    seconds = side_by_side(candidates, ROUNDS, time.process_time if on_cpu else time.perf_counter)
    plain, scored = seconds["samplings"], seconds["samplings, decoded and scored"]
    rows = [
        [name, f"{1000 * value:.0f}", f"x {value / plain:.3f}", f"x {value / scored:.3f}"]
        for name, value in seconds.items()
    ]
    return table([f"{OVERHEAD_OF} pictures", "ms", "beside samplings", "beside those decoded and scored"], rows)


def numbers(curves: Curves, steps: int, quickstart: Quickstart) -> dict:
    """What the plot of the documentation is drawn from: mean, standard error and the mean of the metric set aside."""
    return {
        "pairs": len(curves[BEST_OF][1]),
        "metric": quickstart.searched.entry.name,
        "aside": quickstart.aside.entry.name,
        "aside is better": "higher" if quickstart.aside.entry.higher_is_better else "lower",
        "curves": {
            name: [[count * steps, *(round(value, 4) for value in mean(values))] for count, values in curve.items()]
            for name, curve in curves.items()
        },
    }


def _error(values: Tensor) -> float:
    """Standard error of the mean of ``[pairs]``."""
    return (values.std() / len(values) ** 0.5).item()


if __name__ == "__main__":
    main()
