"""Training of the tiny text-to-image model on scenes of mixed quality.

The captions never mention the distortion, so the model learns a mixture of qualities for every prompt. Half of the
pictures are accompanied by tokens that say how they are distorted (:mod:`.companion`).
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from ...files import read_tensors, write_torch
from ...pictures.distortions import distort_randomly
from ..model import BASE_WEIGHTS, SpaceToDepth
from ..text_encoder import tokenize
from ..weights_file import read_weights
from ..world import caption, sample_scene
from .base_model import TinyModel
from .muon import Muon
from .procedural import SceneCache

CLEAN_SHARE = 0.35
CAPTION_VARIANTS = 1000


@dataclass(frozen=True)
class Settings:
    """How the base model is trained.

    Muon (Jordan et al., 2024) trains the matrices and convolutions inside the UNet, AdamW its first and last layer,
    biases, norms, the text encoder and the companion; ``ema`` is the decay of the averaged weights per step;
    ``quality_told`` is the share of the pictures that the companion's tokens accompany.
    """

    batch: int = 16
    muon_learning_rate: float = 1e-3  # scaled to updates of AdamW's size
    learning_rate: float = 6e-4
    warm_up: int = 100
    ema: float = 0.998
    companion_learning_rate: float = 2e-3
    quality_told: float = 0.5
    text_dropout: float = 0.1
    seed: int = 5


def _matrices(unet: torch.nn.Module) -> Iterator[tuple[torch.nn.Parameter, torch.nn.Parameter]]:
    """Inner weights of the UNet and the same memory as matrices ``[out, in · kernel]``, as Muon wants them."""
    for name, weight in unet.named_parameters():
        if weight.ndim >= 2 and not name.startswith(("input_blocks.0.", "out.")):
            yield weight, torch.nn.Parameter(weight.data.flatten(1))


class MixedQuality:
    """Training pictures: about a third clean, the others with one distortion of a random severity."""

    def __init__(self, cache: SceneCache, settings: Settings):
        self.cache, self.settings = cache, settings

    def batch(self, step: int) -> tuple[torch.Tensor, list[str], list[torch.Tensor]]:
        """Pictures ``[N, 3, 64, 64]`` in 0…1 of a step, their captions, and the columns of :meth:`.Companion.options`.

        Some captions are empty (text dropout).
        """
        rng = np.random.default_rng([self.settings.seed, step])
        seeds = rng.integers(len(self.cache), size=self.settings.batch)
        pictures = self.cache.pictures(seeds)
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        pictures, kinds, severities = distort_randomly(pictures, CLEAN_SHARE, generator)
        accompanied = (torch.rand(len(pictures), generator=generator) < self.settings.quality_told).float()
        captions = [
            "" if rng.random() < self.settings.text_dropout
            else caption(sample_scene(int(seed)), int(rng.integers(CAPTION_VARIANTS)))
            for seed in seeds
        ]  # fmt: skip
        return pictures, captions, [kinds, severities, accompanied]


class BaseTraining:
    """State of the training; checkpoints (``base.pt``) keep all of it.

    Without a checkpoint it begins with the weights in ``base.safetensors``, if the work folder has that file, and a new
    optimiser and companion; without either from nothing.
    """

    COUNTERS = ("step", "seconds", "losses", "warm_up_begin")

    def __init__(self, work: Path, steps: int, settings: Settings):
        self.steps = steps
        self.file = work / "base.pt"
        self.settings = settings
        torch.manual_seed(settings.seed)
        self.model = TinyModel()
        weights = self.model.weights
        companion = self.model.companion
        self.parameters = [*weights.parameters(), *companion.parameters()]
        self.workers = min(os.cpu_count(), 4)
        self.pool = ThreadPoolExecutor(self.workers, initializer=torch.set_num_threads, initargs=(1,))
        self.average = {name: weight.clone() for name, weight in weights.state_dict().items()}
        self.matrices = dict(_matrices(weights["unet"]))
        others = [parameter for parameter in weights.parameters() if parameter not in self.matrices]
        self.optimizers = {
            "muon": Muon(self.matrices.values()),
            "adamw": torch.optim.AdamW(others, betas=(0.9, 0.99), weight_decay=0.01, fused=True),
            "companion": torch.optim.AdamW(companion.parameters(), betas=(0.9, 0.99), weight_decay=0.01, fused=True),
        }
        self.data = MixedQuality(SceneCache(work / "scenes"), settings)
        self.step, self.seconds, self.losses, self.warm_up_begin = 0, 0.0, [], 0
        exported = work / BASE_WEIGHTS
        if self.file.exists():
            self._resume()
        elif exported.exists():
            self._begin_with(exported)

    def _begin_with(self, file: Path) -> None:
        weights, facts = read_weights(file)
        self.model.weights.load_state_dict(weights)
        self.average = weights
        self.step = self.warm_up_begin = facts["steps"]
        self.seconds = facts["steps"] * facts["seconds_per_step"]

    def _resume(self) -> None:
        state = read_tensors(self.file, mapped=False).content
        self.model.weights.load_state_dict(state["weights"])
        self.model.companion.load_state_dict(state["companion_weights"])
        for name, optimizer in self.optimizers.items():
            optimizer.load_state_dict(state[name])
        self.average = state["average"]
        for name in self.COUNTERS:
            setattr(self, name, state[name])

    def save(self) -> None:
        state = {
            "weights": self.model.weights.state_dict(),
            "companion_weights": self.model.companion.state_dict(),
            **{name: optimizer.state_dict() for name, optimizer in self.optimizers.items()},
            "average": self.average,
            **{name: getattr(self, name) for name in self.COUNTERS},
        }
        write_torch(self.file, state)

    def facts(self) -> dict:
        """What the header of the weights records about the training."""
        return {
            "steps": self.step,
            "seconds_per_step": round(self.seconds / max(1, self.step), 3),
            "loss_of_last_250_steps": round(float(np.mean(self.losses[-250:])), 5),
            **asdict(self.settings),
        }

    def schedule(self) -> float:
        """Factor of the learning rates: constant after a warm-up, with a linear decay over the last quarter."""
        rise = (self.step + 1 - self.warm_up_begin) / self.settings.warm_up
        fall = (self.steps - self.step) / (self.steps / 4)
        return min(1, rise, fall)

    def advance(self) -> float:
        """One step; returns its loss."""
        begin = time.perf_counter()
        pictures, captions, quality = self.data.batch(self.step)
        loss = self._gradients(SpaceToDepth().encode(pictures * 2 - 1), tokenize(captions), quality)
        torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
        for parameter, matrix in self.matrices.items():
            matrix.grad = parameter.grad.flatten(1)
        rates = {
            "muon": self.settings.muon_learning_rate,
            "adamw": self.settings.learning_rate,
            "companion": self.settings.companion_learning_rate,
        }
        for name, optimizer in self.optimizers.items():
            optimizer.param_groups[0]["lr"] = rates[name] * self.schedule()
            optimizer.step()
        self.step += 1
        self._update_average()
        self.losses.append(round(loss, 5))
        self.seconds += time.perf_counter() - begin
        return loss

    def _gradients(self, latents: torch.Tensor, tokens: list[list[int]], quality: list[torch.Tensor]) -> float:
        """Set every parameter's gradient; returns the loss.

        Each thread takes a part of the batch through the whole model. They meet once per step, where threads inside the
        operators would meet hundreds of times: 0.6 against 1.05 seconds a step on two cores.
        """

        def part(i: int) -> tuple[float, tuple[torch.Tensor, ...]]:
            generator = torch.Generator().manual_seed((self.settings.seed * 10**7 + self.step) * self.workers + i)
            mine = slice(i, None, self.workers)
            loss = self.model.loss(latents[mine], tokens[mine], [column[mine] for column in quality], generator)
            return loss.item(), torch.autograd.grad(loss, self.parameters)

        losses, gradients = zip(*self.pool.map(part, range(self.workers)), strict=True)
        for parameter, *parts in zip(self.parameters, *gradients, strict=True):
            parameter.grad = sum(parts) / self.workers
        return sum(losses) / self.workers

    @torch.no_grad()
    def _update_average(self) -> None:
        """Exponential moving average; early on it forgets faster, so that it never holds the random beginning."""
        decay = min(self.settings.ema, (1 + self.step) / (10 + self.step))
        for name, weight in self.model.weights.state_dict().items():
            self.average[name].lerp_(weight, 1 - decay)


def train_base(work: Path, steps: int, on_checkpoint, every: int = 250) -> BaseTraining:
    """Train until ``steps`` steps are done in all.

    Args:
        work: holds ``scenes/`` and the checkpoint.
        on_checkpoint: called with the training after each checkpoint, to show pictures.
        every: steps between checkpoints.
    """
    training = BaseTraining(work, steps, Settings())
    progress = tqdm(total=steps, initial=training.step, desc="base", unit="step", mininterval=10)
    while training.step < steps:
        loss = training.advance()
        progress.set_postfix(loss=f"{loss:.4f}", refresh=False)
        progress.update()
        if training.step % every == 0 or training.step == steps:
            training.save()
            on_checkpoint(training)
    return training
