"""What the training node shows while it runs."""

from __future__ import annotations

import logging
import time
from pathlib import Path

import comfy.model_management
import comfy.utils
import torch
from PIL import Image

from ..figures.grid import in_width, stacked, to_pillow
from ..training.observer import Observer

PREVIEW_SIDE, LAST_WIDTH = 512, 640  # pixels, while it trains and when it has ended


class Watch(Observer):
    """Progress of the training at the node: bar, loss, time left, samples. Cancelling acts between two steps.

    Attributes:
        said: sentences for the user, the last one is the result.
    """

    def __init__(self, steps: int, node_id: str):
        from server import PromptServer  # there is none where only the pack's rooms are used

        self.said: list[str] = []
        self._server = PromptServer.instance
        self._steps, self._node_id = steps, node_id
        self._bar: comfy.utils.ProgressBar | None = None
        self._first: tuple[int, float] | None = None

    def preparing(self, total: int) -> comfy.utils.ProgressBar:
        self._show("preparing the pictures")
        return comfy.utils.ProgressBar(total, self._node_id)

    def step(self, step: int, loss: float) -> None:
        """Show loss and time left.

        Raises:
            InterruptProcessingException: the user cancelled.
        """
        first, begin = self._first = self._first or (step, time.monotonic())
        self._bar = self._bar or comfy.utils.ProgressBar(self._steps, self._node_id)
        self._bar.update_absolute(step)
        text = f"step {step} of {self._steps}, loss {loss:.4f}"
        if step > first:
            left = (time.monotonic() - begin) / (step - first) * (self._steps - step)
            text += f", {_duration(left)} left"
        self._show(text)
        comfy.model_management.throw_exception_if_processing_interrupted()

    def sheet(self, step: int, picture: Path) -> None:
        with Image.open(picture) as image:
            self._preview(step, image.convert("RGB"), PREVIEW_SIDE)

    def last(self, pictures: list[torch.Tensor]) -> None:
        """Show pictures ``[1, H, W, 3]`` together, for the front end keeps showing the last preview in place of the
        outputs."""
        together = stacked([in_width(picture, LAST_WIDTH) for picture in pictures])
        self._preview(self._steps, to_pillow(together), max(together.shape))

    def _preview(self, step: int, image: Image.Image, side: int) -> None:
        self._bar = self._bar or comfy.utils.ProgressBar(self._steps, self._node_id)
        self._bar.update_absolute(step, preview=("JPEG", image, side))

    def note(self, text: str) -> None:
        self.say(text)

    def say(self, text: str) -> None:
        """Show a sentence that stays: at the node, in the log, and in the result."""
        self.said.append(text)
        logging.info(text)
        self._show(text)

    def _show(self, text: str) -> None:
        self._server.send_progress_text(text, self._node_id)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
