"""One place where a model attends: what an architecture has to say about it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

from torch import Tensor


class Site(ABC):
    """One attention layer of a model.

    Attributes:
        kind: group of sites, for layer multipliers: ``input``, ``middle`` or ``output`` of a UNet, ``double`` or
            ``single`` of Flux.
        width: C = heads x head width, the width of K' and V'.
        heads: of its attention.
        context_width: D, the width of the quality tokens and, where the site attends, of the text.
        text_width: of the embeddings that the model is given.
        family: of its model; "" where the sites' number and width tell it.
    """

    kind: str
    width: int
    heads: int
    context_width: int
    text_width: int
    family: str

    @property
    @abstractmethod
    def name(self) -> str:
        """Stays the same whatever else the model has, for example ``input.1.0``; files and messages use it."""

    @property
    @abstractmethod
    def group(self) -> str:
        """The smallest part of the model that multipliers name, for example ``input.1``."""

    @abstractmethod
    def initial_weights(self) -> tuple[Tensor, Tensor]:
        """W'_k and W'_v with which training starts, each ``[C, D]``: the layer's own."""

    def normed(self, keys: Tensor) -> Tensor:
        """K' as the layer norms its own K, ``[..., C]``; as they are where it does not."""
        return keys

    @abstractmethod
    def install(self, options: dict, attention: Callable[[Callable | None], Callable]) -> None:
        """Put an attention over whatever stands at this site now.

        Args:
            options: ``transformer_options``, whose ``patches_replace`` and own keys are changed in place.
            attention: what stands there (None for the layer's own attention) -> what shall stand there.
        """

    @abstractmethod
    def rows(self, extra_options: dict) -> int:
        """Rows of the forward before any patch of this layer changed their number."""

    @abstractmethod
    def size(self, extra_options: dict) -> tuple[int, int]:
        """Height and width of the layer's activations."""

    def frames(self, extra_options: dict) -> int:
        """Pictures of that size that one row has, one after the other: of a video."""
        return 1
