"""Which layers an adapter acts on, and how strongly: the grammar of layer multipliers."""

from __future__ import annotations

import re
from collections.abc import Sequence

from .sites import CrossAttentionLayer

WEIGHTINGS = ("all", "input", "middle", "output", "custom")


def layer_multipliers(layers: Sequence[CrossAttentionLayer], weighting: str, multipliers: str = "") -> list[float]:
    """Factor of the strength at every layer.

    Args:
        weighting: ``all`` layers, those of one kind (``input``, ``middle``, ``output``), or ``custom``.
        multipliers: for ``custom``: ``kind=factor`` or ``kind.block=factor``, separated by commas; later entries
            override earlier ones; layers that none names get 0. Example: ``output=1, output.3=0.5, middle=0.2``.

    Raises:
        ValueError: an entry cannot be read or names no layer of this model.
    """
    if weighting not in WEIGHTINGS:
        raise ValueError(f"Layer weighting must be one of {', '.join(WEIGHTINGS)}, not {weighting!r}.")
    if weighting != "custom":
        return [float(weighting in ("all", layer.kind)) for layer in layers]
    factors = [0.0] * len(layers)
    for entry in filter(None, (part.strip() for part in re.split(r"[,\n]", multipliers))):
        match = re.fullmatch(r"(input|middle|output)(?:\.(\d+))?\s*=\s*(-?\d*\.?\d+)", entry)
        named = [
            number
            for number, layer in enumerate(layers)
            if match and layer.kind == match[1] and match[2] in (None, str(layer.block))
        ]
        if not named:
            blocks = sorted({f"{layer.kind}.{layer.block}" for layer in layers})
            raise ValueError(
                f"Layer multiplier {entry!r} names no layer of this model; write kind=factor or kind.block=factor "
                f"with one of {', '.join(blocks)}."
            )
        for number in named:
            factors[number] = float(match[3])
    return factors
