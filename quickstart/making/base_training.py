"""Training of the tiny text-to-image model on scenes of mixed quality.

The captions never mention the distortion, so the model learns a mixture of qualities for every prompt. Half of the
pictures are accompanied by tokens that say how they are distorted (:mod:`.companion`).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from tqdm import tqdm

from ...files import read_tensors, write_torch
from ..model import BASE_WEIGHTS
from ..weights_file import read_weights
from .base_model import TinyModel
from .companion import COMPANION_WEIGHTS
from .export import write_weights
from .mixed_quality import MixedQuality
from .procedural import PictureCache
from .training_step import TrainingStep

LOOK = 25  # steps between looks at the loss, which wait for the device
CAPTURE_AFTER = 5  # steps; by then the optimisers have their state


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


ON_GPU = Settings(batch=128, muon_learning_rate=1.5e-3, learning_rate=1e-3, warm_up=300, ema=0.999)


class BaseTraining:
    """State of the training; checkpoints (``base.pt``) keep all of it.

    From the checkpoint of a part that reached its last step another part begins, which warms up anew. Without a
    checkpoint it begins with the weights in ``base.safetensors`` and ``companion.safetensors``, if the work folder has
    them, and new optimisers; else from nothing.
    """

    COUNTERS = ("step", "seconds", "begin", "steps")

    def __init__(self, work: Path, steps: int, settings: Settings, device: torch.device):
        self.steps, self.settings, self.device = steps, settings, device
        self.file = work / "base.pt"
        torch.manual_seed(settings.seed)
        self.model = TinyModel(device)
        self.average = {name: weight.clone() for name, weight in self.model.weights.state_dict().items()}
        rates = {
            "muon": settings.muon_learning_rate,
            "adamw": settings.learning_rate,
            "companion": settings.companion_learning_rate,
        }
        self.work = TrainingStep(self.model, self.average, rates)
        self.scenes = PictureCache(work / "scenes", device)
        told = settings.quality_told, settings.text_dropout
        self.data = MixedQuality(self.scenes, settings.batch, *told, settings.seed)
        self.step, self.seconds, self.begin = 0, 0.0, 0
        self.losses = torch.zeros(250, device=device)  # of the last steps
        if self.file.exists():
            self._resume()
        elif (work / BASE_WEIGHTS).exists():
            self._begin_with(work)
        if device.type == "cuda":
            self.model.base.diffusion_model.compile()
        self.resumed_at = self.step

    def _begin_with(self, work: Path) -> None:
        weights, facts = read_weights(work / BASE_WEIGHTS)
        self.model.weights.load_state_dict(weights)
        self.model.companion.load_state_dict(read_weights(work / COMPANION_WEIGHTS)[0])
        for name, weight in weights.items():
            self.average[name].copy_(weight)
        self.step = self.begin = facts["steps"]
        self.seconds = facts["steps"] * facts["seconds_per_step"]

    def export(self, work: Path) -> None:
        """Write the averaged weights and the companion."""
        facts = self.facts()
        write_weights(work / BASE_WEIGHTS, self.average, facts)
        write_weights(work / COMPANION_WEIGHTS, self.model.companion.state_dict(), facts)

    def _resume(self) -> None:
        state = read_tensors(self.file, mapped=False).content
        self.model.weights.load_state_dict(state["weights"])
        self.model.companion.load_state_dict(state["companion_weights"])
        self.work.load_state_dict(state["optimizers"])
        for name, weight in state["average"].items():
            self.average[name].copy_(weight)
        self.losses.copy_(state["losses"])
        self.step, self.seconds = state["step"], state["seconds"]
        self.begin = self.step if self.step >= state["steps"] else state["begin"]

    def save(self) -> None:
        state = {
            "weights": self.model.weights.state_dict(),
            "companion_weights": self.model.companion.state_dict(),
            "optimizers": self.work.state_dict(),
            "average": self.average,
            "losses": self.losses,
            **{name: getattr(self, name) for name in self.COUNTERS},
        }
        write_torch(self.file, state)

    def facts(self) -> dict:
        """What the header of the weights records about the training."""
        return {
            "steps": self.step,
            "seconds_per_step": round(self.seconds / max(1, self.step), 4),
            "loss_of_last_250_steps": round(self.losses.mean().item(), 5),
            "scenes": len(self.scenes),
            "device": self.device.type,
            **asdict(self.settings),
        }

    def schedule(self) -> float:
        """Factor of the learning rates: constant after a warm-up, with a linear decay over the part's last quarter."""
        rise = (self.step + 1 - self.begin) / self.settings.warm_up
        fall = (self.steps - self.step) / ((self.steps - self.begin) / 4)
        return min(1, rise, fall)

    def advance(self) -> None:
        """One step."""
        began = time.perf_counter()
        batch = self.data.batch(self.step, self.model)
        # early on the average forgets faster, so that it never holds the random beginning
        decay = min(self.settings.ema, (1 + self.step) / (10 + self.step))
        if self.device.type == "cuda" and self.step - self.resumed_at == CAPTURE_AFTER:
            self.work.capture(batch)
        loss = self.work(batch, self.schedule(), decay)
        self.losses[self.step % len(self.losses)] = loss
        self.step += 1
        self.seconds += time.perf_counter() - began


def train_base(
    work: Path,
    steps: int,
    device: torch.device,
    on_checkpoint: Callable[[BaseTraining], None],
    every: int = 250,
    minutes: float | None = None,
) -> BaseTraining:
    """Train until ``steps`` steps are done in all.

    Args:
        work: holds ``scenes/`` and the checkpoint.
        device: that trains.
        on_checkpoint: called with the training after each checkpoint.
        every: steps between checkpoints.
        minutes: of this call; the steps become as many as that allows. None for ``steps``.
    """
    began = time.monotonic()
    training = BaseTraining(work, steps, ON_GPU if device.type == "cuda" else Settings(), device)
    with tqdm(total=steps, initial=training.step, desc="base", unit="step", mininterval=10) as progress:
        speed = Speed(began, minutes)
        while training.step < training.steps:
            training.advance()
            progress.update()
            if training.step % LOOK == 0:
                progress.set_postfix(loss=f"{training.losses.mean().item():.4f}", refresh=False)
                training.scenes.grow()
                speed.plan(training)
                progress.total = training.steps
            if training.step % every == 0 or training.step == training.steps:
                training.save()
                on_checkpoint(training)
                speed.pause()
    return training


class Speed:
    """Fits the steps of a part to the minutes that it has, until its learning rates fall."""

    def __init__(self, began: float, minutes: float | None):
        self.end = began + 60 * minutes if minutes else None
        self.last: tuple[int, float] | None = None

    def plan(self, training: BaseTraining) -> None:
        """After a step whose loss has been read, so that the device has done it."""
        now, last = time.monotonic(), self.last
        self.last = training.step, now
        declining = training.step - training.begin > 0.74 * (training.steps - training.begin)
        if self.end and last and not declining:
            per_step = (now - last[1]) / (training.step - last[0])
            training.steps = training.step + max(1, int((self.end - now) / per_step))

    def pause(self) -> None:
        """Time since the last plan is not that of steps alone: a checkpoint has been written."""
        self.last = None
