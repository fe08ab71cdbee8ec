"""Which layers an adapter acts on, and how strongly: the grammar of layer multipliers."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ..quality.entries import NUMBER, entries, quoted
from .site import Site

LARGEST = 100  # factor; the strength itself is 10 at most
WEIGHTINGS = ("all", "input", "middle", "output", "custom")


def layer_multipliers(sites: Sequence[Site], weighting: str, multipliers: str = "") -> list[float]:
    """Factor of the strength at every site.

    Args:
        weighting: ``all`` sites, those of one kind (``input``, ``middle``, ``output``), or ``custom``.
        multipliers: for ``custom``: ``kind=factor`` or ``kind.block=factor``, separated by commas; later entries
            override earlier ones; sites that none names get 0. Example: ``output=1, output.3=0.5, middle=0.2``.

    Raises:
        ValueError: an entry cannot be read or names nothing in this model, or nothing would be left to act.
    """
    if weighting not in WEIGHTINGS:
        raise ValueError(f"Layer weighting must be one of {', '.join(WEIGHTINGS)}, not {weighting!r}.")
    if weighting != "custom":
        factors = [float(weighting in ("all", site.kind)) for site in sites]
        if not any(factors):
            raise ValueError(f"This model has no {weighting} layers that could act; choose another layer weighting.")
        return factors
    if not (written := entries(multipliers)):
        raise ValueError(
            "Custom layer weighting needs layer_multipliers, for example `input=0.5, middle=1, output.3=1.2`; without "
            "any, the adapter would not act. Write some, or choose `all`."
        )
    factors = [0.0] * len(sites)
    for entry in written:
        match = re.fullmatch(rf"([a-z]+(?:\.[0-9]+)?)\s*=\s*({NUMBER})", entry)
        named = [number for number, site in enumerate(sites) if match and match[1] in (site.kind, site.group)]
        if not (match and named):
            groups = ", ".join(dict.fromkeys(site.group for site in sites))
            raise ValueError(
                f"Layer multiplier {quoted(entry)} names no layer of this model; write kind=factor or "
                f"kind.block=factor with one of {groups}."
            )
        if abs(factor := float(match[2])) > LARGEST:
            raise ValueError(f"Layer multiplier {quoted(entry)} is out of range; factors are {-LARGEST} to {LARGEST}.")
        for number in named:
            factors[number] = factor
    return factors
