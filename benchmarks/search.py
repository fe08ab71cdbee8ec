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
from collections.abc import Iterator, Sequence
from pathlib import Path

import comfy.model_management
import comfy.sample
import torch
from torch import Tensor

from benchmarks.measure import side_by_side, table
from benchmarks.pairs import Quickstart, each_pair
from iqa_adapter.adapter.apply import apply_adapter
from iqa_adapter.adapter.checkpoint import load_adapter
from iqa_adapter.adapter.tokens import embed_quality
from iqa_adapter.files import write_json
from iqa_adapter.guidance.halving import affordable, rungs
from iqa_adapter.guidance.judge import Judge
from iqa_adapter.guidance.noise import recipes
from iqa_adapter.guidance.runs import Runs, Sampling
from iqa_adapter.guidance.search import BEST_OF, HALVING, LOCAL, Found, Settings, search
from iqa_adapter.quality.targets import sliders
from iqa_adapter.quickstart.adapters import SCORE
from iqa_adapter.quickstart.model import WEIGHTS

NUMBERS = Path(__file__).resolve().parent.parent / "documentation" / "search.json"
ADAPTED = f"adapter at 99 %, {BEST_OF}"
AT_ONCE = 16
FIRSTS = (0.25, 0.35, 0.5, 0.65)  # of halving: part of the steps before the first judgement
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
    parser.add_argument("--budget", type=int, default=12, help="largest one, in samplings")
    parser.add_argument("--metric", default="quickstart_iqa", help="that is searched for")
    parser.add_argument("--aside", default="piqe", help="that is set aside")
    parser.add_argument("--keep", type=Path, help="JSON lines of finished pairs, with which a run goes on")
    parser.add_argument("--write", action="store_true", help="keep the numbers in documentation/search.json")
    options = parser.parse_args()
    settings = {name: getattr(options, name) for name in ("budget", "metric", "aside")}
    quickstart = Quickstart(options.metric, options.aside)
    with torch.inference_mode():
        on_pair = Searches(quickstart, options.budget)
        curves = curves_of(each_pair(options.pairs, on_pair, options.keep, settings))
        steps = len(quickstart.sigmas) - 1
        print(described(curves, steps, options.metric, options.aside), "\n")
        print(a_third(curves, options.budget), "\n")
        print(overhead(quickstart))
    if options.write:
        write_json(NUMBERS, numbers(curves, steps, quickstart))
        print(f"\n{NUMBERS}; python iqa.py docs draws it")


class Searches:
    """Every method on one pair.

    Halving changes nothing of what a sampling computes (``tests/graph/test_search.py``), so what it would keep is told
    from samplings that went to the end and were judged after every step: of every budget and first judgement at once.

    Args:
        budget: largest, in samplings.
    """

    def __init__(self, quickstart: Quickstart, budget: int):
        self.quickstart, self.budget = quickstart, budget
        self.counts = sorted({2**power for power in range(budget.bit_length())} | {third_of(budget), budget})
        self.judge = Judge((quickstart.searched,), (1.0,), quickstart.aside)
        self.model = quickstart.fast()
        adapter = load_adapter(WEIGHTS / SCORE.file)
        best = torch.tensor([sliders(adapter.metadata.metrics, QUALITY, COLOURFULNESS)])
        self.adapted = apply_adapter(self.model, embed_quality(adapter, best), SCORE.strength)

    def __call__(self, pairs: Sequence[int]) -> list[dict[str, list[list[float]]]]:
        return [self.of_pair(pair) for pair in pairs]

    def of_pair(self, pair: int) -> dict[str, list[list[float]]]:
        """By method: samplings, and then scores of the best picture: of the searched metric and the one set aside."""
        finished, predicted = self.watched(pair)
        local = self._found(pair, LOCAL, self.budget, self.model).ledgers[0].values
        adapted = self._found(pair, BEST_OF, third_of(self.budget), self.adapted).ledgers[0].values
        halved = {
            halving_at(first): [[count, *values.tolist()] for count, values in self.halved(first, finished, predicted)]
            for first in FIRSTS
        }
        return {BEST_OF: self._best(finished), LOCAL: self._best(local), ADAPTED: self._best(adapted), **halved}

    def watched(self, pair: int) -> tuple[Tensor, list[Tensor]]:
        """As many samplings as the budget: scores ``[samplings, 2]`` of the pictures, and of each step's prediction."""
        predicted: list[Tensor] = []
        everyone = range(self.budget)

        def drive(runs: Runs) -> range:
            for steps in range(1, len(self.quickstart.sigmas) - 1):
                runs.advance(everyone, steps)
                predicted.append(self.quickstart.scores(runs.predictions(everyone)))
            runs.advance(everyone)
            return everyone

        latents, _ = self.sampling(pair, self.model)(recipes(self.seed(pair), self.budget), drive, lambda: None)
        return self.quickstart.scores(torch.cat(latents)), predicted

    def halved(self, first: float, finished: Tensor, predicted: list[Tensor]) -> Iterator[tuple[int, Tensor]]:
        """Budgets that begin with no more samplings than were watched, and scores ``[2]`` of what halving keeps."""
        steps = len(predicted) + 1
        for budget in self.counts[1:]:
            begun = affordable(budget, 1, steps, first)
            if begun > len(finished):
                return
            alive = torch.arange(begun)
            for rung in rungs(begun, 1, steps, first):
                alive = alive[self.judge.best(predicted[rung.steps - 1][alive], rung.survivors)]
            yield budget, finished[alive[self.judge.best(finished[alive], 1)[0]]]

    def _best(self, values: Tensor) -> list[list[float]]:
        """After every budget, of scores ``[samplings, 2]`` in the order of their sampling."""
        counts = [count for count in self.counts if count <= len(values)]
        return [[count, *values[self.judge.best(values[:count], 1)[0]].tolist()] for count in counts]

    def _found(self, pair: int, method: str, budget: int, model) -> Found:
        settings = Settings(method, budget, 1, self.seed(pair))
        return search(self.sampling(pair, model), self.quickstart.vae, self.judge, settings, NoProgress())

    @staticmethod
    def seed(pair: int) -> int:
        """Of the first noise."""
        return SEEDS * pair

    def sampling(self, pair: int, model) -> Sampling:
        quickstart = self.quickstart
        latent = {"samples": torch.zeros(1, *quickstart.shape)}
        return Sampling(quickstart.guider([pair], model), quickstart.sampler, quickstart.sigmas, latent, AT_ONCE)


def third_of(budget: int) -> int:
    return max(2, budget // 3)


def halving_at(first: float) -> str:
    return f"{HALVING}, first look at {first:g}"


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
    """What a third of the evaluations gives beside best of N with all of them, pair by pair."""
    whole, third = curves[BEST_OF][budget][:, 0], third_of(budget)
    rows = []
    for name, curve in curves.items():
        if third in curve:
            less = curve[third][:, 0] - whole
            rows.append([name, f"{less.mean():+.4f} +- {_error(less):.4f}"])
    title = f"{third} samplings' worth, beside {BEST_OF} with {budget} ({whole.mean():.4f} +- {_error(whole):.4f})"
    return table([title, "difference"], rows)


def overhead(quickstart: Quickstart) -> str:
    """Computing time of a search beside that of as many samplings, all one at a time."""
    guider, latent = quickstart.guider([0]), torch.zeros(1, *quickstart.shape)
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
