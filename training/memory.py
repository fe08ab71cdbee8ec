"""Out of memory, on a GPU or in main memory, in one sentence."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch


class TrainingOutOfMemory(RuntimeError):
    """The message says what to lower."""


@contextlib.contextmanager
def memory_errors(doing: str, advice: str) -> Iterator[None]:
    """Turn what PyTorch and Python raise when there is no memory into one sentence.

    Raises:
        TrainingOutOfMemory: "Out of memory while DOING: ADVICE."
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not _is_lack_of_memory(error):
            raise
        raise TrainingOutOfMemory(f"Out of memory while {doing}: {advice}.") from error


def _is_lack_of_memory(error: Exception) -> bool:
    """PyTorch has a class for GPUs; main memory is a plain RuntimeError."""
    kinds = (MemoryError, torch.OutOfMemoryError)
    return isinstance(error, kinds) or "can't allocate memory" in str(error) or "not enough memory" in str(error)
