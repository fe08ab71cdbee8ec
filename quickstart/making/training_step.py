"""One step of the base's training: gradients, optimisers and averages; on a GPU captured once and then replayed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor, nn

from .base_model import Batch, TinyModel
from .muon import Muon


class TrainingStep:
    """Changes the model's weights and their averages.

    On a CPU each thread takes a part of the batch through the whole model. They meet once per step, where threads
    inside the operators would meet hundreds of times: 0.6 against 1.05 seconds a step on two cores. On a GPU the
    thousands of small kernels of a step are captured in a CUDA graph, whose replay launches them at once.

    Args:
        averages: of the weights' state dict; exponential moving averages.
        rates: learning rates of ``muon``, ``adamw`` and ``companion``.
    """

    def __init__(self, model: TinyModel, averages: dict[str, Tensor], rates: dict[str, float]):
        self.model, self.rates = model, rates
        weights, companion = model.weights, model.companion
        self.parameters = [*weights.parameters(), *companion.parameters()]
        self.averages = [(averages[name], weight) for name, weight in weights.state_dict().items()]
        self.matrices = dict(_matrices(weights["unet"]))
        others = [parameter for parameter in weights.parameters() if parameter not in self.matrices]
        on_gpu = model.device.type == "cuda"
        adamw = {"betas": (0.9, 0.99), "weight_decay": 0.01, "fused": True, "capturable": on_gpu}
        # learning rates and the averages' decay are read by the captured step when it runs
        self.rate = {name: torch.zeros((), device=model.device) for name in rates}
        self.forget = torch.zeros((), device=model.device)
        self.optimizers = {
            "muon": Muon(self.matrices.values(), lr=self.rate["muon"]),
            "adamw": torch.optim.AdamW(others, lr=self.rate["adamw"], **adamw),
            "companion": torch.optim.AdamW(companion.parameters(), lr=self.rate["companion"], **adamw),
        }
        self.workers = 1 if on_gpu else min(os.cpu_count(), 4)
        self.pool = ThreadPoolExecutor(self.workers, initializer=torch.set_num_threads, initargs=(1,))
        self.captured: tuple[torch.cuda.CUDAGraph, Batch, Tensor] | None = None

    def __call__(self, batch: Batch, factor: float, decay: float) -> Tensor:
        """One step.

        Args:
            factor: of the learning rates.
            decay: of the averages.

        Returns:
            The loss, on the device.
        """
        for name, rate in self.rate.items():
            rate.fill_(self.rates[name] * factor)
        self.forget.fill_(1 - decay)
        if self.captured is None:
            return self._step(batch)
        graph, inputs, loss = self.captured
        _copy(batch, inputs)
        graph.replay()
        return loss

    def capture(self, example: Batch) -> None:
        """Capture the step for batches of the example's size; nothing changes."""
        inputs, graph = Batch(*(column.clone() for column in example)), torch.cuda.CUDAGraph()
        torch.cuda.synchronize()
        with torch.cuda.graph(graph):
            loss = self._step(inputs)
        self.captured = graph, inputs, loss

    def _step(self, batch: Batch) -> Tensor:
        loss, gradients = self._gradients(batch)
        for parameter, gradient in zip(self.parameters, gradients, strict=True):
            parameter.grad = gradient
        nn.utils.clip_grad_norm_(self.parameters, 1.0, foreach=True)
        for parameter, matrix in self.matrices.items():
            matrix.grad = parameter.grad.flatten(1)
        for optimizer in self.optimizers.values():
            optimizer.step()
        with torch.no_grad():
            for average, weight in self.averages:
                average.lerp_(weight, self.forget)
        return loss

    def _gradients(self, batch: Batch) -> tuple[Tensor, list[Tensor]]:
        """Loss, and the gradient of every parameter."""

        def part(i: int) -> tuple[Tensor, tuple[Tensor, ...]]:
            loss = self.model.loss(batch.part(slice(i, None, self.workers)))
            return loss.detach(), torch.autograd.grad(loss, self.parameters)

        if self.workers == 1:
            return part(0)
        losses, gradients = zip(*self.pool.map(part, range(self.workers)), strict=True)
        return sum(losses) / self.workers, [sum(parts) / self.workers for parts in zip(*gradients, strict=True)]

    def state_dict(self) -> dict:
        return {name: optimizer.state_dict() for name, optimizer in self.optimizers.items()}

    def load_state_dict(self, state: dict) -> None:
        for name, optimizer in self.optimizers.items():
            optimizer.load_state_dict(state[name])
            optimizer.param_groups[0]["lr"] = self.rate[name]


def _matrices(unet: nn.Module) -> Iterator[tuple[nn.Parameter, nn.Parameter]]:
    """Inner weights of the UNet and the same memory as matrices ``[out, in · kernel]``, as Muon wants them."""
    for name, weight in unet.named_parameters():
        if weight.ndim >= 2 and not name.startswith(("input_blocks.0.", "out.")):
            yield weight, nn.Parameter(weight.data.flatten(1))


def _copy(batch: Batch, target: Batch) -> None:
    for source, place in zip(batch, target, strict=True):
        place.copy_(source)
