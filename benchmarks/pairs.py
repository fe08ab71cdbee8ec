"""Pairs of a prompt and a seed on the quickstart, and what metrics say of the pictures."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import comfy.sample
import comfy.samplers
import torch
from comfy.patcher_extension import WrappersMP
from torch import Tensor
from tqdm import tqdm

from iqa_adapter.guidance.guiders import guider_of
from iqa_adapter.iqa_models.loading import load_iqa_model
from iqa_adapter.iqa_models.scoring import score_images
from iqa_adapter.quickstart.model import BLOCK, LATENT_CHANNELS, load_quickstart
from iqa_adapter.quickstart.precision import autocast
from iqa_adapter.quickstart.rendering import SIZE
from iqa_adapter.quickstart.sampling import CFG, SAMPLER, SCHEDULER, STEPS
from iqa_adapter.quickstart.world import HELD_OUT_SEEDS, HELD_OUT_THINGS, prompt, sample_scene


class Quickstart:
    """The embedded model with its usual sampling, a metric that is searched for and one that is set aside.

    Args:
        searched, aside: metrics of the catalogue.
    """

    shape = LATENT_CHANNELS, SIZE // BLOCK, SIZE // BLOCK

    def __init__(self, searched: str, aside: str):
        self.model, self.clip, self.vae = load_quickstart()
        self.searched, self.aside = load_iqa_model(searched), load_iqa_model(aside)
        self.sampler = comfy.samplers.sampler_object(SAMPLER)
        schedule = self.model.get_model_object("model_sampling")
        self.sigmas = comfy.samplers.calculate_sigmas(schedule, SCHEDULER, STEPS)

    def fast(self) -> comfy.model_patcher.ModelPatcher:
        """The model in bfloat16 where the processor is faster at it; metrics stay in float32."""
        model = self.model.clone()
        model.add_wrapper(WrappersMP.APPLY_MODEL, _in_fast_precision)
        return model

    def guider(self, numbers: Sequence[int], model=None) -> comfy.samplers.CFGGuider:
        """For the prompts of pairs: of combinations of words that the model has not been trained on."""
        scenes = [
            sample_scene(HELD_OUT_SEEDS.start + 50_000 + number, HELD_OUT_THINGS, two_objects=0) for number in numbers
        ]
        positive, negative = (self._encoded(texts) for texts in ([prompt(scene) for scene in scenes], [""]))
        return guider_of(model or self.model, positive, negative, CFG, None)

    def drawn(self, numbers: Sequence[int], model) -> Tensor:
        """Latents ``[pairs, C, h, w]``, the number of each pair its seed, all sampled at once."""
        latent = torch.zeros(len(numbers), *self.shape)
        noise = torch.cat([comfy.sample.prepare_noise(latent[:1], number) for number in numbers])
        sampling = self.sampler, self.sigmas
        return self.guider(numbers, model).sample(noise, latent, *sampling, disable_pbar=True, seed=numbers[0])

    def _encoded(self, texts: Sequence[str]) -> list:
        """One conditioning with a row for each text."""
        encoded = [self.clip.encode_from_tokens_scheduled(self.clip.tokenize(text))[0] for text in texts]
        pooled = torch.cat([extra["pooled_output"] for _, extra in encoded])
        return [[torch.cat([embedding for embedding, _ in encoded]), {"pooled_output": pooled}]]

    def scores(self, latents: Tensor) -> Tensor:
        """Raw scores of latents, ``[pictures, 2]``: of the searched metric and of the one set aside."""
        return score_images([self.searched, self.aside], self.vae.decode(latents).clamp(0, 1)).values


def each_pair(
    pairs: int, measure: Callable[[list[int]], list[dict]], keep: Path | None, settings: dict, at_once: int = 1
) -> list[dict]:
    """What ``measure`` finds of every pair.

    Args:
        measure: gets the numbers of pairs; what it returns of each can be written as JSON.
        keep: JSON lines that a run appends to, so that one that was ended goes on; None keeps nothing. They know
            nothing of changed code: begin another file after such a change.
        settings: of the run; lines of others are left alone.
        at_once: pairs that ``measure`` gets.
    """
    known = {} if keep is None else _known(keep, settings)
    missing = [pair for pair in range(pairs) if pair not in known]
    for start in tqdm(range(0, len(missing), at_once), unit="round"):
        group = missing[start : start + at_once]
        known.update(zip(group, measure(group), strict=True))
        if keep is not None:
            with keep.open("a", encoding="utf-8") as file:  # the new line comes first: it ends one left half
                for pair in group:
                    file.write("\n" + json.dumps({"settings": settings, "pair": pair, "found": known[pair]}))
    return [known[pair] for pair in range(pairs)]


def _known(keep: Path, settings: dict) -> dict[int, dict]:
    """What earlier runs found, by pair."""
    known = {}
    for text in keep.read_text(encoding="utf-8").splitlines() if keep.is_file() else ():
        try:
            line = json.loads(text)
        except ValueError:  # empty, or half written when its run was killed
            continue
        if line["settings"] == settings:
            known[line["pair"]] = line["found"]
    return known


def _in_fast_precision(executor, *arguments, **options):
    """A wrapper of the diffusion model alone."""
    with autocast():
        return executor(*arguments, **options)
