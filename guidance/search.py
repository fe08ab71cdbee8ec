"""Sampling many noises and keeping the best: computation spent where an IQA model's score is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from comfy.model_management import InterruptProcessingException
from comfy.sd import VAE
from torch import Tensor

from ..adapter.application import APPLICATIONS
from ..adapter.call import QUALITY
from ..iqa_models.scoring import Scores
from .best_of import best_of
from .halving import FIRST, affordable, halving, rungs
from .judge import Judge
from .latents import joined, one_by_one
from .ledger import Ledger, Picture
from .local import local_search
from .noise import FoundNoise
from .runs import Sampling

BEST_OF, HALVING, LOCAL = "best of N", "successive halving", "local search"
METHODS = (BEST_OF, HALVING, LOCAL)
CACHES = ("easycache", "lazycache")  # of ComfyUI, in transformer_options: they remember the step before


@dataclass(frozen=True)
class Settings:
    """What is searched, and how long.

    Attributes:
        method: one of :data:`METHODS`.
        budget: computation for each picture of the latent, in whole samplings.
        keep: pictures to keep of each.
        seed: of the first noise.
        stop: best of N and local search end as soon as ``keep`` pictures reach the judge's thresholds.
        radius: of local search, how far neighbours are from the best noise: above 0, at most 1.
        neighbours: of local search, in a round.
        cutoff: of local search, part of the frequencies that it changes: above 0, at most 1.
        together: the latents of a batch are frames of one picture, which is judged as a whole.
        first: of successive halving, part of the steps before the first judgement: above 0, below 1.

    Raises:
        ValueError: a number is out of its range, or nothing could be chosen.
    """

    method: str = BEST_OF
    budget: int = 8
    keep: int = 1
    seed: int = 0
    stop: bool = False
    radius: float = 0.4
    neighbours: int = 4
    cutoff: float = 1.0
    together: bool = False
    first: float = FIRST

    def __post_init__(self):
        if self.method not in METHODS:
            raise ValueError(f"Unknown method {self.method!r}; expected one of {', '.join(METHODS)}.")
        if self.keep < 1:
            raise ValueError(f"keep must be 1 or more, not {self.keep}.")
        if self.budget <= self.keep:
            raise ValueError(
                f"A budget of {self.budget} samplings leaves nothing to choose where {self.keep} "
                f"{'picture is' if self.keep == 1 else 'pictures are'} kept; make budget larger, or keep less."
            )
        if not (0 < self.radius <= 1 and 0 < self.cutoff <= 1):
            raise ValueError(
                f"radius and cutoff must be above 0 and at most 1, not {self.radius:g} and {self.cutoff:g}."
            )
        if not 0 < self.first < 1:
            raise ValueError(f"first must be above 0 and below 1, not {self.first:g}.")
        if self.neighbours < 1:
            raise ValueError(f"neighbours must be 1 or more, not {self.neighbours}.")


class Found(NamedTuple):
    """What a search has kept; pictures of one latent after the other, the best of each first.

    Attributes:
        latent: LATENT of all of them.
        images: IMAGE, decoded; frames of a video one after the other.
        scores: IQA_SCORES of the images.
        noise: NOISE that draws them again.
        kept: for each latent, the pictures.
        ledgers: of each latent.
    """

    latent: dict
    images: Tensor
    scores: Scores
    noise: FoundNoise
    kept: list[list[Picture]]
    ledgers: list[Ledger]


def search(sampling: Sampling, vae: VAE, judge: Judge, settings: Settings, progress) -> Found:
    """Search the best pictures.

    Args:
        sampling: how a picture is sampled; its latent may be a batch, of which every one is searched for by itself.
        vae: that decodes it.
        judge: that scores it.
        progress: ComfyUI's progress bar, set to per cent with a preview of the best so far.

    Raises:
        ValueError: what is connected cannot be searched; before anything is sampled.
        comfy.model_management.InterruptProcessingException: cancelled before there was anything to keep.
    """
    check(sampling, vae, judge, settings)
    parts = [sampling.latent] if settings.together else one_by_one(sampling.latent)
    total, ledgers = len(parts) * settings.budget * sampling.steps, []
    counted = _Counted(progress, total)
    for part in parts:
        here = Sampling(sampling.guider, sampling.sampler, sampling.sigmas, part, sampling.at_once)
        ledger = Ledger(here, judge, vae, counted.step, counted.show)
        try:
            _run(ledger, settings)
        except InterruptProcessingException:
            if not ledger.pictures:
                if not ledgers:
                    raise
                break  # the latents before it are kept
            ledger.cancelled = True
        ledgers.append(ledger)
        if ledger.cancelled:
            break
    counted.finish()
    return _found(ledgers, settings.keep)


def check(sampling: Sampling, vae: VAE, judge: Judge, settings: Settings) -> None:
    """Refuse what cannot be searched, before anything is sampled.

    Raises:
        ValueError: one sentence that says what to do.
    """
    samples, steps, method = sampling.latent["samples"], sampling.steps, settings.method
    if steps < 1:
        raise ValueError("The sigmas hold no step to sample; connect those of a scheduler with 1 step or more.")
    if method == HALVING:
        count = affordable(settings.budget, settings.keep, steps, settings.first)
        if not rungs(count, settings.keep, steps, settings.first):
            raise ValueError(
                f"Successive halving of {steps} steps with a budget of {settings.budget} has nothing to halve where "
                f"{settings.keep} are kept; make budget or steps larger, or use {BEST_OF}."
            )
    options = sampling.guider.model_options.get("transformer_options", {})
    if method == HALVING and any(name in options for name in CACHES):
        raise ValueError(
            "EasyCache and LazyCache remember the step before, and successive halving goes from picture to picture; "
            f"use {BEST_OF}, or sample without the cache."
        )
    _check_single(sampling, options)
    ratio = vae.spacial_compression_decode()
    judge.check_size(samples.shape[-2] * ratio, samples.shape[-1] * ratio)


def _check_single(sampling: Sampling, options: dict) -> None:
    """Refuse what is given picture by picture: every noise of a search is drawn with the same."""
    conditionings = [cond for conds in sampling.guider.original_conds.values() for cond in conds]
    embeds = [each.tokens for each in options.get(APPLICATIONS, ())]
    embeds += [tokens for cond in conditionings for tokens in cond.get(QUALITY, ())]
    if (most := max(map(len, embeds), default=1)) > 1:
        raise ValueError(
            f"The IQA-Adapter has {most} qualities, one for each of {most} pictures, but a search draws one picture "
            "many times; apply a single quality."
        )
    texts = [cond["cross_attn"] for cond in conditionings if isinstance(cond.get("cross_attn"), Tensor)]
    if (most := max(map(len, texts), default=1)) > 1 and len(sampling.latent["samples"]) > 1:
        raise ValueError(
            f"The conditioning has {most} prompts, one for each picture, but a search draws one picture many times; "
            "connect one prompt."
        )


def _run(ledger: Ledger, settings: Settings) -> None:
    seed, budget, keep = settings.seed, settings.budget, settings.keep
    if settings.method == HALVING:
        halving(ledger, seed, budget, keep, settings.first)
    elif settings.method == LOCAL:
        local_search(ledger, seed, budget, keep, settings.stop, settings.radius, settings.neighbours, settings.cutoff)
    else:
        best_of(ledger, seed, budget, keep, settings.stop)


def _found(ledgers: list[Ledger], keep: int) -> Found:
    kept = [ledger.best(keep) for ledger in ledgers]
    for ledger, pictures in zip(ledgers, kept, strict=True):
        if len(ledger.pictures) > len(pictures):
            ledger.chose(ledger.values, torch.stack([picture.values for picture in pictures]))
    parts = [ledger.sampling.latent for ledger in ledgers]
    images = torch.cat(
        [ledger.decoded(picture.latent) for ledger, pictures in zip(ledgers, kept, strict=True) for picture in pictures]
    )
    noise = FoundNoise(
        tuple(tuple(picture.recipe for picture in pictures) for pictures in kept),
        tuple(part.get("batch_index") for part in parts),
        len(parts[0]["samples"]),
    )
    latent = joined(parts, [[picture.latent for picture in pictures] for pictures in kept])
    return Found(latent, images, ledgers[0].judge.scores(list(images)), noise, kept, ledgers)


class _Counted:
    """Steps on ComfyUI's progress bar."""

    def __init__(self, progress, total: int):
        self._progress, self._total, self._done = progress, total, 0
        self._preview: tuple | None = None

    def step(self) -> None:
        self._done += 1
        self._progress.update_absolute(min(self._done, self._total), self._total, self._preview)
        self._preview = None

    def show(self, preview: tuple) -> None:
        """With the next step; nothing is asked between two pictures that could cancel."""
        self._preview = preview

    def finish(self) -> None:
        self._progress.update_absolute(self._total, self._total, self._preview)
