"""The quickstart's two adapters: their files, and the strengths with which they are applied."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class QuickstartAdapter:
    """One of them.

    Attributes:
        name: what it is conditioned on, ``score`` or ``reference``.
        strength: with which the evaluation and the workflows apply it.
    """

    name: str
    strength: float = 1.0

    @property
    def file(self) -> Path:
        """Below the folder of the weights."""
        return Path("adapters") / f"quickstart_{self.name}.safetensors"


SCORE = QuickstartAdapter("score", strength=1.25)
REFERENCE = QuickstartAdapter("reference")
