"""What an adapter file is, in a few words, from its header and the shapes in it; no weight is read."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from ..files import read_tensors, shown
from .metadata import HEADER_KEY, Metadata
from .sites import FAMILIES

NORMS, KEYS = ("image_proj.norm.weight", "qual_proj_model.norm.weight"), ".to_k_ip.weight"  # ends of names
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
        tensors, header = read_tensors(path, mapped=True)
        if not isinstance(tensors, dict):
            return Description("unusable", "is no IQA-Adapter")
        norm = next((tensor for name, tensor in tensors.items() if name.endswith(NORMS)), None)
        layers = sum(name.endswith(KEYS) for name in tensors)
        if norm is None or norm.ndim != 1 or not layers:
            return Description("unusable", "is no IQA-Adapter")
        if HEADER_KEY not in header:
            return Description("silent", f"{SILENT}; for {_family('', len(norm), layers)}")
        return described(Metadata.from_json(header[HEADER_KEY]), len(norm), layers)
    except (ValueError, OSError):
        return Description("unusable", "cannot be read; choose it to learn why")


def _family(base_model: str, context_width: int, layers: int) -> str:
    known = FAMILIES.get((context_width, layers)) or base_model.partition(" (")[0]
    return known or f"a UNet with {layers} cross-attention layers of context width {context_width}"
