"""What a training run is at a step: enough to go on from there as if it had never stopped."""

from __future__ import annotations

import copy
import dataclasses
import json
import os
from pathlib import Path

import torch
from torch import nn

from .settings import TrainingSettings
from .trainable import TrainableAdapter

CHECKPOINT, LOSSES = "checkpoint.pt", "loss.jsonl"
FREE = {  # settings that a resumed run may change; the product of the last two with the processes must stay
    "steps", "checkpoint_interval", "sample_interval", "workers", "gradient_checkpointing",
    "batch_size", "gradient_accumulation",
}  # fmt: skip


class TrainingState:
    """Adapter, optimiser, average and step.

    Args:
        adapter: learns in place.
        settings: of the run.
        samples_per_step: of all processes together.
    """

    def __init__(self, adapter: TrainableAdapter, settings: TrainingSettings, samples_per_step: int):
        self.adapter, self.settings, self.samples_per_step = adapter, settings, samples_per_step
        self.optimizer = torch.optim.AdamW(
            adapter.parameters(), settings.learning_rate, weight_decay=settings.weight_decay
        )
        self.average = copy.deepcopy(adapter).requires_grad_(False) if settings.ema_decay else None
        self.step = 0

    @property
    def result(self) -> TrainableAdapter:
        """The averaged weights where there are any."""
        return self.average or self.adapter

    def update(self) -> None:
        """One step with the gradients that the adapter has."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.settings.learning_rate_at(self.step)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.step += 1
        if self.average is not None:
            self._average()

    @torch.no_grad()
    def _average(self) -> None:
        """Early on the average forgets faster, so that it never holds the beginning."""
        decay = min(self.settings.ema_decay, (1 + self.step) / (10 + self.step))
        for mean, weight in zip(self.average.parameters(), self.adapter.parameters(), strict=True):
            mean.lerp_(weight, 1 - decay)

    def save(self, folder: Path) -> None:
        """Write the checkpoint through a temporary file.

        Raises:
            OSError: it cannot be written; the one before is kept.
        """
        state = {
            "step": self.step,
            "settings": self._fixed(),
            "samples_per_step": self.samples_per_step,
            "optimizer": self.optimizer.state_dict(),
            **{name: module.state_dict() for name, module in self._modules().items()},
        }
        partial = folder / f"{CHECKPOINT}.part"
        try:
            torch.save(state, partial)
        except (OSError, RuntimeError) as error:  # a full disk is a RuntimeError of torch's writer
            partial.unlink(missing_ok=True)
            raise OSError(
                f"The checkpoint could not be written to {folder}: {error}. Make room and start again; the training "
                "goes on from the checkpoint before."
            ) from error
        os.replace(partial, folder / CHECKPOINT)

    def resume(self, folder: Path) -> None:
        """Go on from the folder's checkpoint; without one, stay at the beginning.

        Raises:
            ValueError: the checkpoint is damaged or of a run with other settings.
        """
        path = folder / CHECKPOINT
        if not path.is_file():
            return
        advice = "Use those again, choose another name, or set `anew`."
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:  # torch names no common class for what a truncated file can raise
            raise ValueError(f"{path} is damaged; delete it to start anew.") from error
        # a setting that is newer than the checkpoint had its default
        was, now = dataclasses.asdict(TrainingSettings()) | state["settings"], self._fixed()
        if changed := [f"{name} {was[name]!r}, now {now[name]!r}" for name in now if was[name] != now[name]]:
            raise ValueError(f"{path} was trained with other settings ({'; '.join(changed)}). {advice}")
        if state["samples_per_step"] != self.samples_per_step:
            raise ValueError(
                f"{path} was trained with {state['samples_per_step']} samples per step, now it would be "
                f"{self.samples_per_step} (batch_size x gradient_accumulation x processes). {advice}"
            )
        try:
            for name, module in self._modules().items():
                module.load_state_dict(state[name])
        except RuntimeError as error:
            raise ValueError(f"{path} was trained for another UNet or other quality inputs. {advice}") from error
        self.optimizer.load_state_dict(state["optimizer"])
        self.step = state["step"]

    def _modules(self) -> dict[str, nn.Module]:
        modules = {"adapter": self.adapter, "average": self.average}
        return {name: module for name, module in modules.items() if module is not None}

    def _fixed(self) -> dict:
        return {name: value for name, value in dataclasses.asdict(self.settings).items() if name not in FREE}


class LossLog:
    """``loss.jsonl``: one JSON object per step; a resumed run continues it after its checkpoint's step."""

    def __init__(self, folder: Path, step: int):
        path = folder / LOSSES
        lines = path.read_text().splitlines(keepends=True)[:step] if path.is_file() else []
        partial = path.with_name(f"{LOSSES}.part")
        partial.write_text("".join(lines))
        os.replace(partial, path)
        self._file = path.open("a", buffering=1)

    def write(self, **values: float) -> None:
        self._file.write(json.dumps(values) + "\n")

    def close(self) -> None:
        self._file.close()


def read_losses(folder: Path) -> tuple[list[int], list[float]]:
    """Steps and losses of a run so far."""
    entries = [json.loads(line) for line in (folder / LOSSES).read_text().splitlines()]
    return [entry["step"] for entry in entries], [entry["loss"] for entry in entries]
