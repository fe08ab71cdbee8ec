"""One place where a model attends: what an architecture has to say about it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

from torch import Tensor


class Site(ABC):
    """One attention layer of a model.

    Attributes:
        kind: group of sites, for layer multipliers: ``input``, ``middle`` or ``output`` of a UNet.
    """

    kind: str

    @property
    @abstractmethod
    def name(self) -> str:
        """Stays the same whatever else the model has, for example ``input.1.0``; files and messages use it."""

    @property
    @abstractmethod
    def group(self) -> str:
        """The smallest part of the model that multipliers name, for example ``input.1``."""

    @property
    @abstractmethod
    def width(self) -> int:
        """C = heads x head width, the width of K' and V'."""

    @property
    @abstractmethod
    def heads(self) -> int:
        """Heads of its attention."""

    @property
    @abstractmethod
    def context_width(self) -> int:
        """D, the width of the text's and of the quality tokens."""

    @abstractmethod
    def initial_weights(self) -> tuple[Tensor, Tensor]:
        """W'_k and W'_v with which training starts, each ``[C, D]``: the layer's own."""

    @abstractmethod
    def install(self, patches_replace: dict, attention: Callable[[Callable | None], Callable]) -> None:
        """Put an attention over whatever stands at this site now.

        Args:
            patches_replace: of ``transformer_options``, changed in place.
            attention: what stands there (None for the layer's own attention) -> what shall stand there.
        """

    @abstractmethod
    def rows(self, extra_options: dict) -> int:
        """Rows of the forward before any patch of this layer changed their number."""

    @abstractmethod
    def size(self, extra_options: dict) -> tuple[int, int]:
        """Height and width of the layer's activations."""
