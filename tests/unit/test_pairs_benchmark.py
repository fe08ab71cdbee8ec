"""Benchmarks over pairs of a prompt and a seed go on where they were ended."""

import comfy.samplers
import pytest
import torch

from benchmarks.pairs import Quickstart, each_pair
from benchmarks.search import FIRSTS, Searches
from iqa_adapter.guidance.search import HALVING, Settings, search


def test_a_run_goes_on_where_it_was_ended(tmp_path):
    keep, asked = tmp_path / "pairs.jsonl", []

    def measure(pairs: list[int]) -> list[dict]:
        asked.extend(pairs)
        return [{"score": pair / 2} for pair in pairs]

    settings = {"budget": 4}
    each_pair(2, measure, keep, settings)
    with keep.open("a") as file:
        file.write('\n{"settings": {"budget": 4}, "pair": 2, "fou')  # a run that was killed while it wrote
    assert each_pair(4, measure, keep, settings, at_once=3) == [{"score": pair / 2} for pair in range(4)]
    assert each_pair(4, measure, keep, settings)[3] == {"score": 1.5} and asked == [0, 1, 2, 3]
    each_pair(1, measure, keep, {"budget": 8})
    each_pair(1, measure, None, settings)
    assert asked == [0, 1, 2, 3, 0, 0]


class NoProgress:
    def update_absolute(self, *_values):
        pass


def test_what_halving_keeps_is_told_from_samplings_that_were_watched():
    quickstart, steps, budget = Quickstart("quickstart_iqa", "piqe"), 4, 4
    schedule = quickstart.model.get_model_object("model_sampling")
    quickstart.sigmas = comfy.samplers.calculate_sigmas(schedule, "karras", steps)
    with torch.inference_mode():
        searches = Searches(quickstart, budget)
        finished, predicted = searches.watched(1)
        told = dict(searches.halved(FIRSTS[0], finished, predicted))
        sampling = searches.sampling(1, searches.model)
        settings = Settings(HALVING, 2, 1, searches.seed(1), first=FIRSTS[0])
        ((kept,),) = search(sampling, quickstart.vae, searches.judge, settings, NoProgress()).kept
    assert len(predicted) == steps - 1 and len(finished) == budget
    assert told[2].tolist() == pytest.approx(kept.values.tolist(), abs=0.02)
