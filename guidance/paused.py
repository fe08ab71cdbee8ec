"""A function that stops where it asks for something, and goes on where it stopped when it is answered.

ComfyUI's samplers are functions that call the model in a loop, and what they know of their last steps (the history of
multistep samplers, the generator of stochastic ones) lives in their local variables. To look at a picture between two
steps, and to go on only if it is good, such a function runs in a thread of its own. One thread at a time runs; the
others wait.
"""

from __future__ import annotations

import contextvars
import queue
import threading
from collections.abc import Callable

import torch


class Dropped(BaseException):
    """Raised in a function that nobody will answer any more."""


class Paused:
    """A function in a thread of its own.

    Args:
        function: gets ``ask``, which takes a question and returns the answer to it.
        device: whose random state, beside the CPU's, the function has to itself.

    Attributes:
        question: what it waits for an answer to; None before it starts and after it has ended.
        result: what it returned.
    """

    def __init__(self, function: Callable, device: torch.device):
        self.question: object | None = None
        self.result: object | None = None
        self.ended = False
        self._function, self._device = function, device
        self._questions, self._answers = queue.SimpleQueue(), queue.SimpleQueue()
        self._random: list | None = None
        self._error: BaseException | None = None
        self._modes = torch.is_inference_mode_enabled(), torch.is_grad_enabled()
        context = contextvars.copy_context()  # ComfyUI keeps there which node is running
        self._thread = threading.Thread(target=context.run, args=(self._run,), daemon=True)

    def go_on(self, answer: object = None) -> None:
        """Answer the question, and run to the next one or to the end.

        Raises:
            Exception: what the function raised.
        """
        outside = _random_state(self._device)
        if self._random is not None:
            _set_random_state(self._device, self._random)
        if self.question is None:
            self._thread.start()
        else:
            self._answers.put(answer)
        self.question = self._questions.get()
        self._random = _random_state(self._device)
        _set_random_state(self._device, outside)
        if self.question is None:
            self._thread.join()
            if self._error is not None:
                raise self._error

    def drop(self) -> None:
        """End it where it stands."""
        if self.question is not None:
            self._answers.put(Dropped())
            self._thread.join()
            self.question = None
        self.ended = True

    def _run(self) -> None:
        inference, gradients = self._modes  # each thread has its own
        if self._device.type == "cuda":
            torch.cuda.set_device(self._device)
        try:
            with torch.inference_mode(inference), torch.set_grad_enabled(gradients):
                self.result = self._function(self._ask)
        except Dropped:
            return
        except BaseException as error:
            self._error = error
        self.ended = True
        self._questions.put(None)

    def _ask(self, question: object) -> object:
        self._questions.put(question)
        answer = self._answers.get()
        if isinstance(answer, Dropped):
            raise answer
        return answer


def _random_state(device: torch.device) -> list:
    return [torch.get_rng_state(), torch.cuda.get_rng_state(device) if device.type == "cuda" else None]


def _set_random_state(device: torch.device, state: list) -> None:
    torch.set_rng_state(state[0])
    if device.type == "cuda":
        torch.cuda.set_rng_state(state[1], device)
