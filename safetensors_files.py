"""The tensors of ``.safetensors``."""

from __future__ import annotations

import math
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from .printable import is_utf8, shown
from .torch_pickle import Refused, damaged

HEADER = 4 * 2**20  # bytes of a header; that of SDXL, 2,515 tensors, has 0.3 MB
TENSORS = 40_000
NUMPY = {"BOOL", "U8", "I8", "I16", "I32", "I64", "F16", "F32", "F64"}  # types of a header that NumPy has, too
FORMAT = torch.contiguous_format  # NumPy's tensors without values have strides of 0
ELEMENTS = 2**22  # of a tensor that may be in memory twice for a moment, at most 32 MB


def read_safetensors(path: Path, header: int, mapped: bool) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors by name, and the texts of the header.

    Args:
        header: bytes that the header says it has.
        mapped: leave the tensors in the file, else copy them.

    Raises:
        Refused: the file is damaged or something else.
    """
    if header > HEADER:
        raise damaged(f"its header would have {header:,} bytes")
    if not is_utf8(str(path)):
        raise Refused("has a name or a folder that is not UTF-8. Rename it.")
    try:
        with safe_open(path, "pt" if mapped else "np") as file:
            names = file.keys()
            if len(names) > TENSORS:
                raise Refused(f"is no file of tensors: it names {len(names):,} of them.")
            tensors = {name: file.get_tensor(name) for name in names} if mapped else _copies(path, file)
            return tensors, file.metadata() or {}
    except (SafetensorError, RuntimeError, TypeError, ValueError, LookupError, AttributeError) as error:
        if isinstance(error, Refused):
            raise
        raise damaged(shown(error)) from error  # other errors: number formats that this torch does not have


def _copies(path: Path, file: safe_open) -> dict[str, Tensor]:
    """Tensors of a file that is open for NumPy.

    Reading one for PyTorch leaves two integers behind for good (safetensors 0.5 to 0.8), which adds up where models are
    loaded again and again; so only very large ones are read that way, and those of types that NumPy lacks, such as
    bfloat16. All are cloned, for results of the same bits want memory as aligned as PyTorch's own.
    """
    parts = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118  it is no dict
    usual = {name for name, part in parts.items() if _by_numpy(part.get_dtype(), part.get_shape())}
    tensors = {name: torch.from_numpy(file.get_tensor(name)).clone(memory_format=FORMAT) for name in usual}
    if len(usual) < len(parts):
        with safe_open(path, "pt") as again:
            tensors |= {name: again.get_tensor(name).clone() for name in parts.keys() - usual}
    return {name: tensors[name] for name in parts}


def _by_numpy(kind: str, shape: list[int]) -> bool:
    return kind in NUMPY and math.prod(shape) <= ELEMENTS
