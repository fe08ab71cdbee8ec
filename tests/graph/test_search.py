"""Search on the quickstart model: what is sampled is what a sampling of its own gives, and the best is kept."""

import dataclasses

import comfy.model_management
import comfy.samplers
import models
import pytest
import torch
from comfy_extras.nodes_custom_sampler import SamplerCustomAdvanced

from iqa_adapter.guidance import halving, report
from iqa_adapter.guidance.guiders import guider_of
from iqa_adapter.guidance.judge import Judge
from iqa_adapter.guidance.latents import fitting
from iqa_adapter.guidance.noise import Recipe, low_frequencies, recipes, turned
from iqa_adapter.guidance.runs import Sampling
from iqa_adapter.guidance.search import BEST_OF, HALVING, LOCAL, Settings, search
from iqa_adapter.iqa_models.loading import load_iqa_model
from iqa_adapter.iqa_models.scoring import score_images
from iqa_adapter.quickstart.model import load_quickstart

STEPS = 3


@pytest.fixture(scope="module")
def quickstart():
    return load_quickstart()


@pytest.fixture(scope="module")
def metrics():
    with torch.inference_mode():  # as in a running graph
        return {name: load_iqa_model(name) for name in ("quickstart_iqa", "entropy")}


@pytest.fixture(autouse=True)
def in_inference_mode():
    with torch.inference_mode():
        yield


@pytest.fixture(scope="module")
def guider(quickstart):
    model, clip, _ = quickstart
    positive, negative = (
        clip.encode_from_tokens_scheduled(clip.tokenize(text)) for text in ("a plain red heart on grey fabric", "")
    )
    return guider_of(model, positive, negative, 2.0, None)


class Progress:
    """ComfyUI's progress bar; cancels after so many steps, as ComfyUI's does when someone asked for it."""

    def __init__(self, cancel_after=None):
        self.cancel_after, self.values, self.previews = cancel_after, [], 0

    def update_absolute(self, value, total, preview=None):
        self.values.append(value / total)
        self.previews += preview is not None
        if len(self.values) == self.cancel_after:
            raise comfy.model_management.InterruptProcessingException


def sampling(guider, latent=None, sampler="euler", at_once=1, steps=STEPS):
    schedule = guider.model_patcher.get_model_object("model_sampling")
    sigmas = comfy.samplers.calculate_sigmas(schedule, "karras", steps)
    latent = {"samples": torch.zeros(1, 12, 32, 32)} if latent is None else latent
    sampler, latent = comfy.samplers.sampler_object(sampler), fitting(guider.model_patcher, latent)
    return Sampling(guider, sampler, sigmas, latent, at_once)


def drawn(how, noise):
    """By ComfyUI's own node."""
    return SamplerCustomAdvanced.execute(noise, how.guider, how.sampler, how.sigmas, how.latent).args[0]["samples"]


class OwnNoise:
    """NOISE of one recipe."""

    def __init__(self, recipe):
        self.recipe, self.seed = recipe, recipe.seed

    def generate_noise(self, latent):
        return self.recipe.draw(latent)


@pytest.mark.parametrize(
    ("sampler", "at_once"),
    [("dpmpp_2m", 1), ("euler_ancestral", 1), ("dpmpp_2m_sde", 3), ("euler_cfg_pp", 3)],
)
def test_paused_samplings_are_what_each_would_be_alone(guider, sampler, at_once):
    how, chosen = sampling(guider, sampler=sampler, at_once=at_once), recipes(3, 3)

    def drive(runs):
        runs.advance([0, 1, 2], 1)
        assert runs.predictions([0, 2]).shape == (2, 12, 32, 32)
        runs.bring_back_the_model()
        runs.drop([1])
        runs.advance([0, 2], 2)
        runs.advance([2, 0])
        return [2, 0]

    results, evaluations = how(chosen, drive, lambda: None)
    assert evaluations == 3 * 1 + 2 * (STEPS - 1)
    for recipe, result in zip([chosen[2], chosen[0]], results, strict=True):
        own = drawn(how, OwnNoise(recipe))
        assert torch.equal(result, own) if at_once == 1 else torch.allclose(result, own, atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_and_cfg_1(dtype):
    model = models.comfy_model("SD1.5", dtype=dtype)
    guider = guider_of(model, models.conditioning(1), None, 1.0, None)
    how = sampling(guider, {"samples": torch.zeros(1, 4, 16, 16)}, "dpmpp_2m", steps=2)
    chosen = recipes(0, 2)
    results, _ = how(chosen, lambda runs: (runs.advance([0, 1], 1), runs.advance([0, 1]), [0, 1])[-1], lambda: None)
    for recipe, result in zip(chosen, results, strict=True):
        assert torch.equal(result, drawn(how, OwnNoise(recipe)))


def masked_pictures():
    """Image-to-image of two pictures, each with a mask of its own."""
    samples = models.latent(2, 32, 32).repeat(1, 3, 1, 1)
    return {"samples": samples, "noise_mask": torch.eye(2).repeat_interleave(32, 1)[:, :, None].expand(-1, -1, 64)}


@pytest.mark.parametrize("method", [BEST_OF, HALVING, LOCAL])
def test_the_noise_draws_the_best_again(quickstart, metrics, guider, method):
    how = sampling(guider, masked_pictures(), "euler_ancestral", steps=2)
    judge = Judge((metrics["quickstart_iqa"],), (1.0,))
    settings = Settings(method, budget=3, keep=1, seed=2**64 - 1, neighbours=1, cutoff=0.5)
    progress = Progress()
    found = search(how, quickstart[2], judge, settings, progress)
    again = drawn(how, found.noise)
    assert found.latent["samples"].shape == (2, 12, 32, 32) and len(found.images) == len(found.scores) == 2
    for number in (0, 1):  # a stochastic sampler draws a picture alone as the search did
        part = found.ledgers[number].sampling  # as Latent From Batch gives it
        assert torch.equal(drawn(part, OwnNoise(found.kept[number][0].recipe))[0], found.latent["samples"][number])
    kept_as_it_was = found.latent["samples"][0, :, 17:] - how.latent["samples"][0, :, 17:]
    assert kept_as_it_was.abs().max() < 1e-4, "what the mask leaves out stays"
    assert again.shape == (2, 12, 32, 32)
    assert max(progress.values) <= 1 and progress.previews >= 2
    spent = [ledger.evaluations for ledger in found.ledgers]
    assert max(spent) <= settings.budget * how.steps
    assert len(report.seeds(found).split("\n")) == 2


def test_a_single_picture_is_drawn_again_by_its_noise(quickstart, metrics, guider):
    how = sampling(guider, sampler="dpmpp_2m_sde")
    settings = Settings(LOCAL, budget=4, keep=2, neighbours=2)
    found = search(how, quickstart[2], Judge((metrics["quickstart_iqa"],), (1.0,)), settings, Progress())
    assert torch.equal(drawn(how, found.noise), found.latent["samples"][:1])
    both = found.noise.generate_noise({"samples": torch.zeros(2, 12, 32, 32)})
    assert torch.equal(both[1:], found.kept[0][1].recipe.draw(how.latent))
    with pytest.raises(ValueError, match="noise is of 1 latents, or of the 2 that were kept, but 5"):
        found.noise.generate_noise({"samples": torch.zeros(5, 12, 32, 32)})


def test_the_best_are_kept_best_first_and_the_worst_where_the_weight_is_negative(quickstart, metrics, guider):
    how, iqa = sampling(guider, at_once=4, steps=2), metrics["quickstart_iqa"]
    every = [drawn(how, OwnNoise(recipe)) for recipe in recipes(0, 4)]
    scores = score_images([iqa], quickstart[2].decode(torch.cat(every)).clamp(0, 1)).values[:, 0]
    for weight, order in ((1.0, scores.argsort(descending=True)), (-1.0, scores.argsort())):
        judge = Judge((iqa,), (weight,), metrics["entropy"])
        found = search(how, quickstart[2], judge, Settings(BEST_OF, budget=4, keep=2), Progress())
        assert [picture.recipe.seed for picture in found.kept[0]] == order[:2].tolist()
        assert torch.allclose(found.scores.values[:, 0], scores[order[:2]], atol=1e-4)
        assert found.scores.metrics == ("quickstart_iqa", "entropy")


def test_it_stops_when_enough_pictures_reach_the_thresholds(quickstart, metrics, guider):
    judge = Judge((metrics["quickstart_iqa"],), (1.0,), thresholds={"quickstart_iqa": -5.0})
    for method, spent in ((BEST_OF, 2), (LOCAL, 2)):
        settings = Settings(method, budget=9, keep=2, stop=True)
        found = search(sampling(guider, steps=1), quickstart[2], judge, settings, Progress())
        assert found.ledgers[0].evaluations == spent
        assert "2 of 2 reach quickstart_iqa=-5" in report.summary(found, settings)


@pytest.mark.parametrize(("method", "after"), [(BEST_OF, 5), (LOCAL, 5), (HALVING, 7)])
def test_a_cancelled_search_gives_the_best_so_far(quickstart, metrics, guider, method, after):
    judge = Judge((metrics["quickstart_iqa"],), (1.0,))
    settings = Settings(method, budget=4, keep=1, first=0.25)
    found = search(sampling(guider), quickstart[2], judge, settings, Progress(after))
    assert len(found.images) == 1 and "cancelled" in report.summary(found, settings)
    assert torch.equal(drawn(sampling(guider), found.noise), found.latent["samples"])
    with pytest.raises(comfy.model_management.InterruptProcessingException):  # there is nothing to give yet
        search(sampling(guider), quickstart[2], judge, settings, Progress(1))


def test_halving_spends_no_more_than_its_budget_and_gives_up_the_worse():
    for budget, keep, steps in ((2, 1, 4), (8, 1, 12), (8, 3, 20), (64, 4, 30)):
        count = halving.affordable(budget, keep, steps)
        assert budget <= count and halving.cost(count, keep, steps) <= budget * steps
        assert halving.cost(count + 1, keep, steps) > budget * steps
        survivors = [count, *(rung.survivors for rung in halving.rungs(count, keep, steps))]
        assert survivors == sorted(survivors, reverse=True) and survivors[-1] >= keep


def test_the_alarm_says_when_the_metric_set_aside_falls(quickstart, metrics, guider):
    iqa, entropy = metrics["quickstart_iqa"], metrics["entropy"]
    settings = Settings(BEST_OF, budget=4, keep=1)
    for weight in (1.0, -1.0):
        judge = Judge((entropy,), (weight,), iqa)
        found = search(sampling(guider, at_once=4, steps=2), quickstart[2], judge, settings, Progress())
        values = found.ledgers[0].values
        gain = (found.kept[0][0].values[1] - values[:, 1].mean()).item() * weight
        said, alarm = report.verdict(found.ledgers)
        assert alarm == (gain < 0) and ("Careful" in said[0]) == alarm
        assert said[0] in report.summary(found, settings)
        assert report.plot(found, settings).std() > 0.01


def test_noise_mixed_in_stays_white_and_may_be_of_low_frequencies_alone():
    noise, other = Recipe(1).draw({"samples": torch.zeros(4, 12, 32, 32)}), models.latent(4, 32, 32).repeat(1, 3, 1, 1)
    for cutoff in (1.0, 0.25):
        mixed = turned(noise, other, 0.6, cutoff)
        assert abs(mixed.std() - 1) < 0.02 and not torch.allclose(mixed, noise)
    kept = turned(noise, other, 0.6, 0.25) - noise
    assert torch.allclose(low_frequencies(kept, 0.25), kept, atol=1e-5)
    assert torch.allclose(turned(noise, other, 1.0), other, atol=1e-6)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"budget": 2, "keep": 2}, "budget of 2 samplings leaves nothing to choose where 2 pictures are kept"),
        ({"keep": 0}, "keep must be 1 or more"),
        ({"method": LOCAL, "radius": 0.0}, "radius and cutoff must be above 0"),
        ({"method": HALVING, "first": 1.0}, "first must be above 0 and below 1"),
        ({"method": LOCAL, "neighbours": 0}, "neighbours must be 1"),
        ({"method": "random"}, "Unknown method 'random'; expected one of best of N"),
    ],
)
def test_bad_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        Settings(**settings)


def test_what_cannot_be_searched_is_refused_before_sampling(quickstart, metrics, guider):
    iqa, vae = metrics["quickstart_iqa"], quickstart[2]
    judge, progress = Judge((iqa,), (1.0,)), Progress()

    def refused(message, how=None, settings=None, judged=judge):
        with pytest.raises(ValueError, match=message):
            search(how or sampling(guider), vae, judged, settings or Settings(), progress)

    refused("hold no step", sampling(guider, steps=0))
    refused("has nothing to halve", sampling(guider, steps=1), Settings(HALVING))
    large = dataclasses.replace(iqa, entry=dataclasses.replace(iqa.entry, minimum_side=224))
    refused("will be 64x64, too small for quickstart_iqa, which needs at least 224", judged=Judge((large,), (1.0,)))
    for latent, message in ((torch.ones(1, 4, 8, 8), "4 channels.*on 12"), (torch.zeros(0, 12, 8, 8), "no picture")):
        with pytest.raises(ValueError, match=message):
            sampling(guider, {"samples": latent})
    with pytest.raises(ValueError, match="connected twice"):
        Judge((iqa, iqa), (1.0, 1.0))
    with pytest.raises(ValueError, match="check with is quickstart_iqa, which is searched for"):
        Judge((iqa,), (1.0,), iqa)
    with pytest.raises(ValueError, match="All weights are 0"):
        Judge((iqa,), (0.0,))
    for given, message in (
        ((None, None, None, 5.0, None), "Connect a model and a positive"),
        ((quickstart[0], [], None, 5.0, None), "cfg of 5 needs a negative"),
        ((quickstart[0], None, None, 5.0, guider), "A guider is connected, and model beside it"),
    ):
        with pytest.raises(ValueError, match=message):
            guider_of(*given)
    assert not progress.values, "nothing was sampled"
