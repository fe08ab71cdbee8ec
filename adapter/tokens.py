"""Scores or features -> quality tokens, for the conditional and the unconditional rows of a batch."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from .adapter import Adapter
from .shared import Shared


@dataclass(frozen=True, eq=False)
class QualityTokens(Shared):
    """Quality tokens of one adapter, for the conditional and the unconditional rows of a batch.

    Attributes:
        adapter: the adapter they belong to; only its layers can attend to them.
        cond, uncond: ``[N, T, D]`` float32 on the CPU; image ``i`` of a batch uses row ``i mod N``.
        strengths: N factors of the strength with which they are applied; None for 1 everywhere.

    Raises:
        ValueError: shapes differ, or a value is not finite.
    """

    adapter: Adapter
    cond: Tensor
    uncond: Tensor
    strengths: tuple[float, ...] | None = None

    def __post_init__(self):
        if self.cond.shape != self.uncond.shape or self.cond.ndim != 3:
            raise ValueError(f"Quality tokens must be two equal [N, T, D], not {self.cond.shape}, {self.uncond.shape}.")
        if not (self.cond.isfinite().all() and self.uncond.isfinite().all()):
            raise ValueError(
                f"The quality tokens of {self.adapter.name} are not finite: its projection weights or the quality "
                "input contain NaN or infinity. Use another adapter file or input."
            )
        if self.strengths is not None and len(self.strengths) != len(self.cond):
            raise ValueError(f"{len(self.cond)} rows of quality tokens need as many strengths, not {self.strengths}.")

    def __len__(self) -> int:
        return len(self.cond)

    @cached_property
    def keys_values(self) -> Tensor:
        """K', V' of all layers, ``[2 N, T, 2 sum(C)]`` float32: N unconditional rows, then N conditional ones.

        Computed at the first use and kept, so that moving a strength slider computes nothing anew. Rows that have
        strengths of their own have V' times them: ``lambda Attn(Q, K', V') = Attn(Q, K', lambda V')``.
        """
        table = self.adapter.keys_values(torch.cat([self.uncond, self.cond]))
        if self.strengths is not None:
            factors = torch.tensor(self.strengths * 2)[:, None, None]
            widths = [width for width, _ in self.adapter.shapes for _ in ("key", "value")]
            for values in table.split(widths, dim=-1)[1::2]:
                values.mul_(factors)
        return table

    def at(self, strength: float) -> tuple[QualityTokens, float]:
        """The tokens, and the strength with which they are to be applied where ``strength`` is asked for.

        What all rows have in common goes into the strength, so that it acts exactly as one set in Apply does.
        """
        if self.strengths is None or len(set(self.strengths)) > 1:
            return self, strength
        return replace(self, strengths=None), strength * self.strengths[0]


def embed_quality(adapter: Adapter, quality: Tensor, uncond_quality: Tensor | None = None) -> QualityTokens:
    """Quality input -> tokens.

    Args:
        adapter: gives the encoding and the projection.
        quality: ``[N, m]`` standardised scores or features.
        uncond_quality: ``[N, m]`` or ``[1, m]`` input of the unconditional rows; None for the zero input, on which
            the adapter was trained with a small drop rate (the encoding, too, is zero then).

    Raises:
        ValueError: ``m`` is not what the adapter expects.
    """
    encoded = adapter.encode(quality)
    if uncond_quality is None:
        encoded_uncond = torch.zeros_like(encoded)
    else:
        encoded_uncond = adapter.encode(uncond_quality).expand_as(encoded)
    return _project(adapter, encoded, encoded_uncond)


def embed_negated(adapter: Adapter, quality: Tensor, weight: float = 0.5) -> QualityTokens:
    """Tokens with *negative guidance*: the unconditional rows get the encoded input times ``-weight``."""
    encoded = adapter.encode(quality)
    return _project(adapter, encoded, -weight * encoded)


def embed_features(adapter: Adapter, features: Tensor, negative: Tensor | None = None) -> QualityTokens:
    """Tokens of IQA-model activations, standardised with the adapter's own statistics.

    Args:
        adapter: a reference adapter.
        features: ``[N, dim]`` raw activations.
        negative: ``[N, dim]`` or ``[1, dim]`` activations to move away from; None for the zero input.

    Raises:
        ValueError: the adapter is score-based, or was trained on activations of another width.
    """
    metadata = adapter.metadata
    if metadata.kind != "reference":
        raise ValueError(
            f"{adapter.name} is conditioned on scores ({', '.join(metadata.metric_names)}), not on a reference "
            "picture. Connect it to Quality Score Conditioning, or load a reference adapter."
        )

    def standardised(raw: Tensor) -> Tensor:
        if not metadata.feature_mean or raw.shape[-1] != len(metadata.feature_mean):
            return raw  # the encoding reports a wrong width
        mean, std = torch.tensor(metadata.feature_mean), torch.tensor(metadata.feature_std)
        return (raw.float() - mean) / std

    return embed_quality(adapter, standardised(features), None if negative is None else standardised(negative))


@torch.no_grad()
def _project(adapter: Adapter, encoded: Tensor, encoded_uncond: Tensor) -> QualityTokens:
    return QualityTokens(adapter, adapter.projection(encoded), adapter.projection(encoded_uncond))
