"""An IQA-Adapter in memory: its weights, and what it is conditioned on. Knows no file format."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from ..files import FileState
from .metadata import Metadata
from .projection import QualityEncoding, QualityProjection
from .shared import Shared


@dataclass(frozen=True, eq=False)
class LayerWeights:
    """W'_k and W'_v of one cross-attention layer, each ``[C, D]``, no bias; mapped where the file is large."""

    key: Tensor
    value: Tensor


@dataclass(frozen=True, eq=False)
class Adapter(Shared):
    """An IQA-Adapter.

    Attributes:
        name: for messages, usually the file name.
        metadata: what it is conditioned on.
        projection: encoded quality input -> ``[N, T, D]``, float32.
        layers: per cross-attention layer, in checkpoint order (input blocks, output blocks, middle block).
        mapped: the file in which the layers' weights lie; None where they are in memory.
        file: from which it was read; None where it was made in memory.
    """

    name: str
    metadata: Metadata
    projection: QualityProjection
    layers: tuple[LayerWeights, ...]
    mapped: FileState | None = None
    file: Path | None = None

    @property
    def tokens(self) -> int:
        """T, quality tokens per picture."""
        return self.projection.tokens

    @property
    def width(self) -> int:
        """D, the cross-attention width of the UNets it fits."""
        return self.projection.width

    @property
    def shapes(self) -> list[tuple[int, int]]:
        """``(C, D)`` of every layer's W'_k and W'_v."""
        return [(layer.key.shape[0], layer.key.shape[1]) for layer in self.layers]

    @cached_property
    def digest(self) -> str:
        """SHA-256 of all weights in hexadecimal, the same however often a file is read."""
        self._check_file()
        weights = [*self.projection.state_dict().values(), *(w for each in self.layers for w in (each.key, each.value))]
        total = hashlib.sha256()
        for weight in weights:
            total.update(weight.detach().cpu().contiguous().view(torch.uint8).numpy())
        return total.hexdigest()

    def is_same(self, other: Adapter) -> bool:
        """Whether another object holds the same adapter."""
        return self is other or self.digest == other.digest

    def encode(self, quality: Tensor) -> Tensor:
        """Quality input ``[N, m]`` -> encoded input of the projection, float32.

        Raises:
            ValueError: ``m`` is not the number of values that the adapter was trained on.
        """
        encoding = QualityEncoding(self.metadata.use_flag, self.metadata.positional_octaves)
        if quality.ndim != 2 or encoding.width(quality.shape[1]) != self.projection.inputs:
            raise ValueError(
                f"{self.name} expects {self.metadata.quality_width or self.projection.inputs} quality values per "
                f"picture, but got {quality.shape[-1]}."
            )
        return encoding(quality.float())

    @torch.no_grad()
    def keys_values(self, tokens: Tensor, device: torch.device | str = "cpu") -> Tensor:
        """K' = c W'_k and V' = c W'_v of every layer, in float32 whatever the weights' dtype.

        Args:
            tokens: c, ``[R, T, D]``.
            device: where to compute; the weights travel there one layer at a time.

        Returns:
            ``[R, T, 2 sum(C)]`` on the CPU: K' then V' of the first layer, K' then V' of the second, ...

        Raises:
            ValueError: the weights of a layer are not finite, or the file has changed since it was mapped.
        """
        self._check_file()
        rows = tokens.to(device, torch.float32).flatten(0, 1)
        weights = [weight for layer in self.layers for weight in (layer.key, layer.value)]
        widths = [len(weight) for weight in weights]
        projected = rows.new_empty(len(rows), sum(widths))
        scratch = rows.new_empty(max(widths), self.width)  # one for all layers: allocating anew fragments the heap
        for weight, part in zip(weights, projected.split(widths, dim=1), strict=True):
            part.copy_(rows @ scratch[: len(weight)].copy_(weight).T)
            if not part.isfinite().all():
                raise ValueError(
                    f"{self.name} holds NaN or infinity in the weights of cross-attention layer "
                    f"{self._index_of(weight)}. The file is damaged or its training diverged; use another one."
                )
        return projected.unflatten(0, tokens.shape[:2]).cpu()

    def _check_file(self) -> None:
        """Before weights are read from it.

        Raises:
            ValueError: it has changed since it was mapped.
        """
        if self.mapped is not None:
            self.mapped.check()

    def _index_of(self, weight: Tensor) -> int:
        """Number by which files call the layer of a weight."""
        return next(2 * i + 1 for i, layer in enumerate(self.layers) if weight is layer.key or weight is layer.value)
