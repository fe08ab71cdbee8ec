"""ComfyUI and the process group of a command."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from datetime import timedelta

LONGEST_WAIT = timedelta(hours=12)  # of a process that has done its share, for the others


def start_comfyui(*arguments: str) -> None:
    """From here on the pack can be imported as ``iqa_adapter``; ComfyUI gets the arguments."""
    import comfyui_runtime

    comfyui_runtime.load_pack(*arguments)


@contextlib.contextmanager
def process_group(argument: str = "") -> Iterator[None]:
    """The process group, and ComfyUI on this process's device."""
    if os.environ.get("ACCELERATE_USE_CPU", "").lower() in ("1", "true"):  # `accelerate launch --cpu`
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    import torch
    from accelerate import PartialState

    # Chooses the process's GPU, which ComfyUI then takes
    processes = PartialState(cpu=not torch.cuda.is_available(), timeout=LONGEST_WAIT)
    start_comfyui(*filter(None, [argument]))
    try:
        yield
    finally:
        processes.destroy_process_group()
