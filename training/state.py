"""What a training run is at a step: enough to go on from there as if it had never stopped."""

from __future__ import annotations

import copy
import dataclasses
import logging
import math
import zipfile
import zlib
from pathlib import Path

import torch
from torch import nn

from ..files import read_tensors, shown, write_torch
from .settings import TrainingSettings
from .trainable import TrainableAdapter

CHECKPOINT, PREVIOUS = "checkpoint.pt", "checkpoint.previous.pt"
FREE = {  # settings that a run which goes on may change; the product of the last two with the processes must stay
    "steps", "warm_restart", "checkpoint_interval", "adapter_interval", "sample_interval", "workers", "tracker",
    "gradient_checkpointing", "batch_size", "gradient_accumulation",
}  # fmt: skip
SMALLEST_SCALE = 1.0  # of a loss in float16; below it, small gradients would vanish
WAYS_ON = "choose another name, or begin again with --anew (in the node: anew)."
ADVICE = f"Use those again, {WAYS_ON}"


class TrainingState:
    """Adapter, optimiser, average and step.

    Args:
        adapter: learns in place.
        settings: of the run.
        samples_per_step: items of a step, of all processes together.

    Attributes:
        scaler: multiplies the loss of a float16 model, so that small gradients are not rounded to 0; does nothing
            otherwise.
        skipped: steps so far without an update, for their gradients were too large for float16.
    """

    def __init__(self, adapter: TrainableAdapter, settings: TrainingSettings, samples_per_step: int):
        self.adapter, self.settings, self.samples_per_step = adapter, settings, samples_per_step
        self.optimizer = torch.optim.AdamW(
            adapter.parameters(), settings.learning_rate, weight_decay=settings.weight_decay
        )
        self.average = copy.deepcopy(adapter).requires_grad_(False) if settings.ema_decay else None
        device = adapter.weight.device.type
        self.scaler = torch.amp.GradScaler(device, enabled=settings.precision == "float16")
        self.step = self.skipped = 0
        self._has_fallen = False  # the learning rate, before this process went on

    @property
    def result(self) -> TrainableAdapter:
        """The averaged weights where there are any."""
        return self.average or self.adapter

    @property
    def learning_rate(self) -> float:
        """Of the next step. Once it has fallen it stays low, though the run was prolonged, unless asked otherwise."""
        if self._has_fallen and not self.settings.warm_restart:
            return self.settings.late_learning_rate
        return self.settings.learning_rate_at(self.step)

    def update(self) -> None:
        """One step with the gradients that the adapter has; none where they are not finite in float16."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.learning_rate
        scale = self.scaler.get_scale()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        self.step += 1
        if self.scaler.get_scale() < scale:
            self.skipped += 1
        elif self.average is not None:
            self._average()

    @property
    def may_skip(self) -> bool:
        """Gradients that are not finite may be finite with a smaller scale."""
        return self.scaler.is_enabled() and self.scaler.get_scale() > SMALLEST_SCALE

    @torch.no_grad()
    def _average(self) -> None:
        """Early on the average forgets faster, so that it never holds the beginning."""
        decay = min(self.settings.ema_decay, (1 + self.step) / (10 + self.step))
        for mean, weight in zip(self.average.parameters(), self.adapter.parameters(), strict=True):
            mean.lerp_(weight, 1 - decay)

    def save(self, folder: Path) -> None:
        """Write the checkpoint; the one before is kept beside it.

        Raises:
            OSError: it cannot be written; those that were there are kept.
        """
        state = {
            "step": self.step,
            "settings": self._fixed(),
            "samples_per_step": self.samples_per_step,
            "optimizer": self.optimizer.state_dict(),
            "scaler": _scale_of(self.scaler.state_dict()),
            "skipped": self.skipped,
            **{name: module.state_dict() for name, module in self._modules().items()},
        }
        path = folder / CHECKPOINT
        try:
            write_torch(path, state, keep=folder / PREVIOUS)
        except OSError as error:
            reason = getattr(error.__cause__, "strerror", None) or "the disk is full, or the file may not grow"
            kept = f"goes on from step {steps_done(folder)}" if has_checkpoint(folder) else "begins again"
            raise OSError(
                f"The checkpoint of step {self.step} could not be written to {folder} ({reason}). Make room and start "
                f"the training again; it {kept}."
            ) from error

    def resume(self, folder: Path) -> str:
        """Go on from the folder's checkpoint; without one, stay at the beginning.

        Returns:
            What the user should know about the learning rate from here on; empty when there is nothing to say.

        Raises:
            ValueError: the checkpoints are damaged, of a run with other settings, or beyond the settings' steps.
        """
        if not has_checkpoint(folder):
            return ""
        state = _read(folder)
        # a setting that is newer than the checkpoint had its default
        was, now = dataclasses.asdict(TrainingSettings()) | state["settings"], self._fixed()
        if changed := [f"{name} {shown(repr(was[name]))}, now {now[name]!r}" for name in now if was[name] != now[name]]:
            raise ValueError(f"{folder} was trained with other settings ({'; '.join(changed)}). {ADVICE}")
        if state["samples_per_step"] != self.samples_per_step:
            raise ValueError(
                f"{folder} was trained with {state['samples_per_step']} items per step, now it would be "
                f"{self.samples_per_step} (batch_size x gradient_accumulation x processes). {ADVICE}"
            )
        check_steps(folder, state["step"], self.settings.steps)
        try:
            for name, module in self._modules().items():
                module.load_state_dict(state[name])
        except RuntimeError as error:
            raise ValueError(f"{folder} was trained for another UNet or other quality inputs. {ADVICE}") from error
        except (AttributeError, LookupError, TypeError) as error:
            raise _damaged(folder, [CHECKPOINT]) from error
        own = [dict(group) for group in self.optimizer.param_groups]  # by the settings, which are the same
        try:
            self.optimizer.load_state_dict(state["optimizer"])
            rates = [group["lr"] for group in self.optimizer.param_groups]
            if self.scaler.is_enabled():
                self.scaler.load_state_dict(self.scaler.state_dict() | _scale_of(state["scaler"]))
                self.skipped = int(state["skipped"])
        except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
            raise _damaged(folder, [CHECKPOINT]) from error
        fitting = all(_fits(moments, weight) for weight, moments in self.optimizer.state.items())
        if not fitting or not all(isinstance(rate, (int, float)) for rate in rates):
            raise _damaged(folder, [CHECKPOINT])
        for group, mine, rate in zip(self.optimizer.param_groups, own, rates, strict=True):
            group.update(mine | {"lr": rate})
        self.step = state["step"]
        self._has_fallen = rates[0] == self.settings.late_learning_rate != self.settings.learning_rate
        return self._schedule()

    def _schedule(self) -> str:
        """What becomes of the learning rate of a run that was prolonged after it fell."""
        planned, late, steps = self.settings.learning_rate_at(self.step), self.learning_rate, self.settings.steps
        if not self._has_fallen or self.step == steps or planned == self.settings.late_learning_rate:
            return ""
        if self.settings.warm_restart:
            until = math.ceil(self.settings.late_from * steps)
            return f"Prolonged to {steps} steps: the learning rate is {planned:g} again up to step {until}."
        return (
            f"Prolonged to {steps} steps: the learning rate had already fallen to {late:g} and stays there; "
            f"`warm_restart: true` raises it to {planned:g} again."
        )

    def _modules(self) -> dict[str, nn.Module]:
        modules = {"adapter": self.adapter, "average": self.average}
        return {name: module for name, module in modules.items() if module is not None}

    def _fixed(self) -> dict:
        return {name: value for name, value in dataclasses.asdict(self.settings).items() if name not in FREE}


def _fits(moments: object, weight: object) -> bool:
    """Whether what an optimiser remembers is of the weight."""
    if not isinstance(weight, torch.Tensor) or not isinstance(moments, dict):
        return False
    values = moments.values()
    return all(isinstance(value, torch.Tensor) and value.shape in ((), weight.shape) for value in values)


def _scale_of(scaler: dict) -> dict:
    """What changes of a scaler's state: the scale, and the steps since it was last changed."""
    kinds = {"scale": float, "_growth_tracker": int}
    return {name: kind(scaler[name]) for name, kind in kinds.items()} if scaler else {}


def has_checkpoint(folder: Path) -> bool:
    return (folder / CHECKPOINT).is_file() or (folder / PREVIOUS).is_file()


def forget_checkpoints(folder: Path) -> None:
    """The next run in the folder begins again."""
    for name in (PREVIOUS, CHECKPOINT):  # in this order: what is left of a kill in between is the newest
        (folder / name).unlink(missing_ok=True)


def steps_done(folder: Path) -> int:
    """Steps of the checkpoint that a run in the folder would go on from; 0 without one.

    Raises:
        ValueError: all are damaged.
    """
    return _read(folder, mmap=True)["step"] if has_checkpoint(folder) else 0


def check_steps(folder: Path, done: int, steps: int) -> None:
    """Refuse to end a run before where it already is.

    Raises:
        ValueError: more steps are done than are asked for.
    """
    if done > steps:
        raise ValueError(
            f"{folder} has already learnt {done} steps, and steps is {steps}. Ask for at least {done}, {WAYS_ON}"
        )


def _read(folder: Path, mmap: bool = False) -> dict:
    """The last checkpoint; the one before where it is damaged.

    Args:
        mmap: leave tensors in the file, of which damage is not noticed then.

    Raises:
        ValueError: both are damaged.
    """
    damaged = []
    for path in (folder / CHECKPOINT, folder / PREVIOUS):
        if not path.is_file():
            continue
        try:
            state, _ = read_tensors(path, mapped=mmap)
            if not mmap:
                _check_sums(path)  # after the reader, which refuses members that are compressed
            kinds = {"step": int, "settings": dict, "samples_per_step": int, "optimizer": dict, "adapter": dict}
            if not isinstance(state, dict) or any(type(state.get(key)) is not kinds[key] for key in kinds):
                raise ValueError(f"{path} is no checkpoint.")
            weights = [*state["adapter"].values(), *(state.get("average") or {}).values()]
            settings = state["settings"].values()  # a tensor cannot be compared with a number
            if state["step"] < 0 or not all(isinstance(weight, torch.Tensor) for weight in weights):
                raise ValueError(f"{path} is no checkpoint.")
            if not all(isinstance(value, (str, int, float)) for value in settings):
                raise ValueError(f"{path} is no checkpoint.")
        except (AttributeError, RuntimeError, ValueError, OSError, zipfile.BadZipFile, zlib.error):
            damaged.append(path.name)
            continue
        if damaged:
            logging.warning("%s of %s is damaged; %s is used instead.", damaged[0], folder, path.name)
        return state
    raise _damaged(folder, damaged)


def _damaged(folder: Path, names: list[str]) -> ValueError:
    return ValueError(f"{' and '.join(names)} of {shown(folder)} cannot be read: damaged. Therefore {WAYS_ON}")


def _check_sums(path: Path) -> None:
    """Torch writes a checksum of every tensor, and does not look at it when it reads."""
    with zipfile.ZipFile(path) as archive:
        if any(member.compress_type != zipfile.ZIP_STORED for member in archive.infolist()):
            raise ValueError(f"{path} is compressed, as torch does not write it.")  # it may unfold for hours
        if damaged := archive.testzip():
            raise ValueError(f"{damaged} of {path} is damaged.")
