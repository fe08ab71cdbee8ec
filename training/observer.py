"""Who watches a run: a node, a command line, or nobody."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Protocol

from ..adapter.adapter import Adapter


class Progress(Protocol):
    """A ComfyUI ``ProgressBar`` or a tqdm bar."""

    def update(self, count: int) -> object: ...


class Silent:
    """A progress bar that shows nothing."""

    def update(self, count: int) -> None:
        pass


class TrainingStopped(RuntimeError):
    """The observer stopped the run, and what it has is written; the message says what that is."""


class Observer:
    """Is told what happens in a run, and may stop it. This one watches nothing and never stops; override what matters.

    All but ``should_stop`` and ``preparing`` are called in the main process only. What they raise ends the run as a
    cancellation does: checkpoint and adapter are written first.
    """

    def preparing(self, total: int) -> Progress:
        """The bar of this process's preparation, of ``total`` pictures and captions."""
        return Silent()

    def step(self, step: int, loss: float) -> None:
        """After each step: steps done, and the loss of the last one."""

    def sample(self, step: int, adapter: Adapter) -> None:
        """Every ``sample_interval`` steps and at the end: the adapter so far. May use the model, which goes on training
        afterwards."""

    def sheet(self, step: int, picture: Path) -> None:
        """A sheet of sample pictures was written."""

    def note(self, text: str) -> None:
        """A sentence that the user should read, though nothing is wrong."""
        logging.warning(text)

    def should_stop(self) -> bool:
        """Asked in every process after each step and picture; as soon as one says yes, all stop at the same step."""
        return False
