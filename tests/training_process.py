"""One process of a training run on CPUs, for ``torchrun`` and the like: its gradients, then a run of a few steps.

Usage: ``training_process.py FOLDER BATCH_SIZE``
"""

import sys
from pathlib import Path

import conftest  # noqa: F401  finds the repository and loads the pack
import torch
import training_models

from iqa_adapter.training import loop


def gradients_and_run(folder: Path, batch_size: int) -> None:
    """Write the gradients of the first step to ``gradients-RANK.pt``, then train 3 steps."""
    settings = training_models.fast_settings(batch_size=batch_size, steps=3)
    data = training_models.data()
    run = loop._Run(training_models.tiny_model(), data, settings, folder, initial=None)
    run._gradients(run._batches())
    gradients = [parameter.grad for parameter in run.state.adapter.parameters()]
    torch.save(gradients, folder / f"gradients-{run.accelerator.process_index}.pt")
    loop.train(training_models.tiny_model(), data, settings, folder)


if __name__ == "__main__":
    gradients_and_run(Path(sys.argv[1]), int(sys.argv[2]))
