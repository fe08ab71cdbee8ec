"""The Muon optimiser: momentum, made orthogonal.

Jordan et al., *Muon: An optimizer for hidden layers in neural networks* (2024), with the step size of Liu et al., *Muon
is Scalable for LLM Training* (arXiv 2502.16982, equation 4). ``torch.optim.Muon`` is the same in bfloat16 only, which
processors without instructions for it emulate: 4.4 seconds a step for the quickstart's UNet, where float32 takes 0.3.
"""

from __future__ import annotations

from collections import defaultdict

import torch
from torch import Tensor

from ..precision import multiplies_bfloat16

COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # of the quintic iteration by Jordan et al.
ITERATIONS = 5
UPDATE_RMS = 0.2  # of AdamW's updates, by Liu et al.


class Muon(torch.optim.Optimizer):
    """For matrices ``[out, in]``.

    Args:
        params: two-dimensional parameters.
        lr: learning rate of an AdamW whose updates are as large; a tensor where steps are captured in a CUDA graph.
        momentum: decay of the averaged gradients, with Nesterov's look ahead.
        weight_decay: relative decay of the weights per step, times ``lr``.
    """

    def __init__(self, params, lr: float | Tensor = 1e-3, momentum: float = 0.95, weight_decay: float = 0.01):
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self) -> None:
        """Move every parameter that has a gradient."""
        for group in self.param_groups:
            weights = [weight for weight in group["params"] if weight.grad is not None]
            updates = _orthogonalize_all([self._look_ahead(weight, group["momentum"]) for weight in weights])
            for weight, update in zip(weights, updates, strict=True):
                weight.mul_(1 - group["lr"] * group["weight_decay"])
                weight.sub_(update * (group["lr"] * UPDATE_RMS * max(weight.shape) ** 0.5))

    def _look_ahead(self, weight: Tensor, momentum: float) -> Tensor:
        """Nesterov's: the averaged gradients as they will be if the next gradient is like this one."""
        state = self.state[weight]
        if not state:
            state["momentum_buffer"] = torch.zeros_like(weight)
        average = state["momentum_buffer"]
        average.lerp_(weight.grad, 1 - momentum)
        return weight.grad.lerp(average, momentum)


def _orthogonalize_all(matrices: list[Tensor]) -> list[Tensor]:
    """Those of one shape together: on a CPU, many small products one by one take twice as long."""
    numbers = defaultdict(list)
    for number, matrix in enumerate(matrices):
        numbers[matrix.shape].append(number)
    results = list(matrices)
    dtype = torch.bfloat16 if multiplies_bfloat16(matrices[0].device) else torch.float32
    for group in numbers.values():
        orthogonal = orthogonalize(torch.stack([matrices[number] for number in group]).to(dtype))
        for number, result in zip(group, orthogonal.float(), strict=True):
            results[number] = result
    return results


def orthogonalize(matrices: Tensor) -> Tensor:
    """``[k, m, n]`` with the same singular vectors and singular values about 1, by Newton-Schulz iteration."""
    a, b, c = COEFFICIENTS
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.mT if tall else matrices
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp_min(1e-7)
    for _ in range(ITERATIONS):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.mT if tall else x
