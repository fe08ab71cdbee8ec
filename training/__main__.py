"""``python -m training score ...`` and ``python -m training train ...``, alone, under torchrun or accelerate launch."""

from __future__ import annotations

import os
import sys
from datetime import timedelta

from .arguments import parse

LONGEST_WAIT = timedelta(hours=12)  # of a process that has done its share, for the others


def main() -> int:
    """Start the process group, then ComfyUI on this process's device, then the command."""
    arguments = parse()
    if os.environ.get("ACCELERATE_USE_CPU", "").lower() in ("1", "true"):  # `accelerate launch --cpu`
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    import torch
    from accelerate import PartialState

    # Chooses the process's GPU, which ComfyUI then takes
    processes = PartialState(cpu=not torch.cuda.is_available(), timeout=LONGEST_WAIT)
    from comfyui_runtime import room

    embedded = {"quickstart": lambda: room("quickstart.model").load_quickstart()}
    try:
        return room("training.command_line").run(arguments, embedded)
    finally:
        processes.destroy_process_group()


if __name__ == "__main__":
    sys.exit(main())
