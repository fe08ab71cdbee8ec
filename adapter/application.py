"""One Apply node: an adapter's tokens at work on a model."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from .adapter import Adapter
from .shared import Shared
from .site import Site
from .tokens import QualityTokens

APPLICATIONS = "iqa_adapter_applications"  # key of transformer_options: a tuple, in the order of the nodes


@dataclass(frozen=True, eq=False)
class Application(Shared):
    """What one Apply node asks for.

    Attributes:
        tokens: for conditionings that have none of their own.
        sites: of the model.
        strengths: lambda at each of them; a site with 0 stays as it is.
        start_percent, end_percent: part of the sampling, 0...1.
        mask: ``[M, height, width]``, 0...1, or None.
    """

    tokens: QualityTokens
    sites: tuple[Site, ...]
    strengths: tuple[float, ...]
    start_percent: float = 0.0
    end_percent: float = 1.0
    mask: Tensor | None = None

    @property
    def adapter(self) -> Adapter:
        return self.tokens.adapter

    @property
    def name(self) -> str:
        return self.adapter.name

    @property
    def always(self) -> bool:
        """It acts in every step."""
        return (self.start_percent, self.end_percent) == (0.0, 1.0)

    @property
    def active_sites(self) -> list[int]:
        """Numbers of the sites at which it acts."""
        return [number for number, strength in enumerate(self.strengths) if strength]

    def tokens_of(self, own: tuple[QualityTokens, ...]) -> QualityTokens:
        """For a conditioning with these tokens of its own, one for each of several adapters."""
        return next((tokens for tokens in own if tokens.adapter.is_same(self.adapter)), self.tokens)
