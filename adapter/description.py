"""What an adapter file is, in a few words, from its header and the shapes in it; no weight is read."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from ..files import WrongFile, read_tensors, shown
from .metadata import HEADER_KEY, Metadata
from .sites import FAMILIES

PROJECTION, FIRST_LAYER = "image_proj.norm.weight", "ip_adapter.1.to_k_ip.weight"
SILENT = "does not say what it was trained on; enter its metrics"


@dataclass(frozen=True)
class Description:
    """An adapter file.

    Attributes:
        kind: ``"score"``, ``"reference"``, ``"silent"`` (an adapter, or what may be one, without metadata), or
            ``"unusable"``.
        text: for people, without the file's name.
    """

    kind: str
    text: str


def describe(path: str | Path) -> Description:
    """What a file is; the answer is kept until the file changes."""
    state = os.stat(path)
    return _describe(str(path), state.st_mtime_ns, state.st_size)


def described(metadata: Metadata, context_width: int, layers: int) -> Description:
    """An adapter, by its metadata and two numbers that tell its family."""
    if metadata.kind == "score":
        what = f"score adapter ({', '.join(metadata.metric_names)})"
    else:
        what = f"reference adapter ({metadata.iqa_model})"
    return Description(metadata.kind, shown(f"{what} for {_family(metadata.base_model, context_width, layers)}"))


@lru_cache(maxsize=1024)
def _describe(path: str, _written: int, _size: int) -> Description:
    if not path.endswith(".safetensors"):
        return Description("silent", SILENT)  # a pickle would have to be read whole, and never says
    try:
        tensors, header = read_tensors(path)
        norm, first = tensors.get(PROJECTION), tensors.get(FIRST_LAYER)
        if HEADER_KEY not in header:
            if norm is None or first is None:
                return Description("silent", SILENT)
            layers = sum(name.endswith("to_k_ip.weight") for name in tensors)
            return Description("silent", f"{SILENT}; for {_family('', len(norm), layers)}")
        metadata = Metadata.from_json(header[HEADER_KEY])
    except (ValueError, OSError, WrongFile):
        return Description("unusable", "cannot be read; choose it to learn why")
    layers = sum(name.endswith("to_k_ip.weight") for name in tensors)
    return described(metadata, 0 if norm is None else len(norm), layers)


def _family(base_model: str, context_width: int, layers: int) -> str:
    known = FAMILIES.get((context_width, layers)) or base_model.partition(" (")[0]
    return known or f"a UNet with {layers} cross-attention layers of context width {context_width}"
