"""Loss and learning rate of every step: into ``loss.jsonl``, and to TensorBoard or Weights & Biases."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from typing_extensions import TypedDict

from ..files import parse_json, write_text
from ..optional import needed
from .settings import TrainingSettings

if TYPE_CHECKING:
    from accelerate import Accelerator

LOSSES, LOGS = "loss.jsonl", "logs"  # of the run's folder; the latter is TensorBoard's
PROJECT = "iqa_adapter"  # of Weights & Biases


def chosen_tracker(choice: str) -> str | None:
    """Accelerate's name of a tracker; None for none.

    Args:
        choice: ``auto``, ``none``, ``tensorboard`` or ``wandb``.

    Raises:
        ImportError: its package is not installed.
    """
    with needed("accelerate"):
        from accelerate.utils import is_tensorboard_available, is_wandb_available
    if choice == "auto":
        return "tensorboard" if is_tensorboard_available() else None
    there = {"none": True, "tensorboard": is_tensorboard_available(), "wandb": is_wandb_available()}
    if not there[choice]:
        raise ImportError(f"tracker: {choice} needs a package: pip install {choice}, or set tracker to none.")
    return None if choice == "none" else choice


def check_tracker(choice: str) -> None:
    """For before any work.

    Raises:
        ImportError: its package is not installed.
        ValueError: Weights & Biases knows no account here.
    """
    if chosen_tracker(choice) != "wandb":
        return
    import wandb

    with contextlib.suppress(TypeError):  # older versions cannot be asked without asking the user
        if wandb.setup().settings.mode == "online" and not wandb.login(prompt=False):
            raise _no_wandb("there is no account")


@contextlib.contextmanager
def tracked(
    accelerator: Accelerator, folder: Path, settings: TrainingSettings, done: int
) -> Iterator[Callable[[int, float, float], None]]:
    """Within, a function that notes step, loss and learning rate; in the main process only.

    Args:
        accelerator: logs with the tracker that the settings choose.
        folder: of the run.
        done: steps so far; later ones of an earlier process are forgotten.

    Raises:
        ValueError: Weights & Biases cannot be used.
    """
    if not accelerator.is_main_process:
        yield lambda step, loss, rate: None
        return
    if settings.tracker == "wandb":
        _begin_wandb(accelerator, folder, settings)
    else:
        accelerator.init_trackers(LOGS, init_kwargs={"tensorboard": {"purge_step": done + 1}})
    file = LossLog(folder, done)

    def write(step: int, loss: float, rate: float) -> None:
        file.write(step=step, loss=loss, learning_rate=rate)
        accelerator.log({"loss": loss, "learning_rate": rate}, step)

    try:
        yield write
    finally:
        file.close()
        for tracker in accelerator.trackers:  # end_training would end the processes' connection, too
            tracker.finish()


def _begin_wandb(accelerator: Accelerator, folder: Path, settings: TrainingSettings) -> None:
    """A run of Weights & Biases; processes that go on with a training make further ones in its group."""
    import wandb

    options = {"name": folder.name, "group": folder.name, "dir": str(folder)}
    try:
        accelerator.init_trackers(PROJECT, dataclasses.asdict(settings), {"wandb": options})
    except wandb.Error as error:
        raise _no_wandb(" ".join(str(error).split()).rstrip(".")) from error


def _no_wandb(reason: str) -> ValueError:
    return ValueError(
        f"tracker: wandb cannot start: {reason}. Run `wandb login`, set WANDB_MODE=offline, or set tracker to none."
    )


class LossLog:
    """``loss.jsonl``: one JSON object per step; a resumed run continues it after its checkpoint's step."""

    def __init__(self, folder: Path, step: int):
        path = folder / LOSSES
        lines = _lines(path)[:step] if path.is_file() else []
        write_text(path, "".join(lines))
        self._file = path.open("a", buffering=1, encoding="utf-8")

    def write(self, **values: float) -> None:
        self._file.write(json.dumps(values) + "\n")

    def close(self) -> None:
        self._file.close()


def read_losses(folder: Path) -> tuple[list[int], list[float]]:
    """Steps and losses of a run so far.

    Raises:
        ValueError: a line is none of a run.
    """
    entries = [parse_json(line, _Loss, folder / LOSSES) for line in _lines(folder / LOSSES)]
    return [entry["step"] for entry in entries], [entry["loss"] for entry in entries]


class _Loss(TypedDict):
    step: int
    loss: float  # NaN where a training diverged


def _lines(path: Path) -> list[str]:
    """Whole lines; a process that is killed may leave half of one."""
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True)
    return [line for line in lines if line.endswith("\n")]
