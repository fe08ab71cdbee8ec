"""Random numbers for initial weights that leave PyTorch's global generator alone."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

IN_PLACE = ("uniform_", "normal_", "bernoulli_", "exponential_", "random_", "log_normal_")
NEW = ("rand", "randn", "randint", "randperm", "normal", "bernoulli", "multinomial")
DRAWING = {*(getattr(Tensor, name) for name in IN_PLACE), *(getattr(torch, name) for name in NEW)}


class OwnRandomNumbers(TorchFunctionMode):
    """While it is entered, this thread draws from a generator of its own, seeded as the global one was.

    Saving and restoring the global generator would not do: another thread that draws in between would lose its numbers.
    """

    def __init__(self):
        super().__init__()
        self.generator = torch.Generator().manual_seed(torch.initial_seed())

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        draws = function in DRAWING or "generator" in kwargs  # torch.nn.init hands its own functions on with one
        if draws and kwargs.get("generator") is None and _on_cpu(args, kwargs):
            kwargs = {**kwargs, "generator": self.generator}
        return function(*args, **kwargs)


def _on_cpu(args: tuple, kwargs: dict) -> bool:
    tensor = next((value for value in (*args, *kwargs.values()) if isinstance(value, Tensor)), None)
    device = kwargs.get("device") if tensor is None else tensor.device
    return torch.device(device or torch.get_default_device()).type == "cpu"
