"""The mask of an Apply node, over what each row of a forward sees."""

from __future__ import annotations

import torch
from torch import Tensor

from .application import Application
from .boxes import Box, cut
from .call import Run


class RowMasks:
    """Weight of the quality tokens over what each row sees, at the resolution of any site.

    A run works it out once for every resolution and keeps it (``run.memory``).

    Args:
        application: its mask is ``[M, height, width]``, 0...1, any size.
        size: height and width of the latent.
        parts: for every row, the number of its mask and the box of the latent that it sees.
        device, dtype: of the sites.
    """

    def __init__(
        self,
        run: Run,
        application: Application,
        size: tuple[int, int],
        parts: list[tuple[int, Box]],
        device: torch.device,
        dtype: torch.dtype,
    ):
        assert application.mask is not None
        self.run, self.application, self.mask = run, application, application.mask
        self.size, self.device, self.dtype = size, device, dtype
        self.parts = tuple(parts[:1] if len(set(parts)) == 1 else parts)
        self.key = (application, size, self.parts, device, dtype)

    def at(self, size: tuple[int, int]) -> Tensor:
        """For a site whose activations are ``size`` high and wide: ``[rows, height * width, 1]``

        One row where all rows see the same.
        """
        memory, key = self.run.memory, (self.key, size)
        if key not in memory:
            whole = self._whole()
            parts = torch.stack([cut(whole[number], box) for number, box in self.parts])
            memory[key] = resize_mask(parts, size).flatten(1)[..., None].to(self.dtype)
        return memory[key]

    def _whole(self) -> Tensor:
        """The mask at the latent's size, on the device; once in a run, as it may be large and comes from the CPU."""
        memory, key = self.run.memory, (self.application, self.size, self.device)
        if key not in memory:
            memory[key] = resize_mask(self.mask, self.size).to(self.device)
        return memory[key]


def resize_mask(mask: Tensor, size: tuple[int, int]) -> Tensor:
    """``[M, height, width]`` -> ``[M, *size]``, antialiased."""
    if tuple(mask.shape[-2:]) == tuple(size):
        return mask
    return torch.nn.functional.interpolate(mask[:, None], size=size, mode="bilinear", antialias=True)[:, 0]
