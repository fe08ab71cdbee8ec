"""``iqa.py build``: makes the weights of the quickstart from nothing, stage by stage.

Every stage keeps what it has done in the work folder and goes on from there when it is started again.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from ..adapters import REFERENCE, SCORE
from ..iqa import IQA_WEIGHTS
from ..model import BASE_WEIGHTS, WEIGHTS, load_quickstart
from ..reader import READER_WEIGHTS
from ..world import HELD_OUT_SEEDS, HELD_OUT_THINGS, SEEN_THINGS, prompt, sample_scene

SHOWN = 16  # pictures after each checkpoint of the base model, half of them of held-out combinations
CHECKPOINTS = {"cpu": 50, "cuda": 2000}  # steps between them: minutes on a busy processor
LEAVES = 8000

# A stage imports what it needs: those that a GPU is for run where there are PyTorch, einops and safetensors alone.


@dataclass(frozen=True)
class Order:
    """What a stage is to do.

    Attributes:
        work: folder.
        steps: training steps (scenes: pictures; iqa, reader: epochs).
        device: for base, score and reference.
        minutes: that the base may take; its steps follow. None for ``steps``.
    """

    work: Path
    steps: int
    device: torch.device
    minutes: float | None


def _scenes(order: Order) -> None:
    from .procedural import make_leaves_cache, make_scene_cache

    make_leaves_cache(order.work / "leaves", LEAVES)
    make_scene_cache(order.work / "scenes", order.steps)


def _base(order: Order) -> None:
    from .base_training import BaseTraining, train_base

    def checkpoint(training: BaseTraining) -> None:
        training.export(order.work)
        if order.device.type == "cpu":  # a GPU has trained on before its processor has sampled
            _show(order.work, f"base_{training.step:06d}.png")

    train_base(order.work, order.steps, order.device, checkpoint, CHECKPOINTS[order.device.type], order.minutes)


def _show(work: Path, name: str) -> None:
    from ...figures.grid import sheet, write_png
    from ..sampling import BatchSampler

    prompts = [
        prompt(sample_scene(HELD_OUT_SEEDS[i], SEEN_THINGS if i < SHOWN // 2 else HELD_OUT_THINGS, two_objects=0.1))
        for i in range(SHOWN)
    ]
    pictures = BatchSampler(*load_quickstart(work))(prompts, range(1, SHOWN + 1)).movedim(1, -1)
    write_png(work / name, sheet(pictures, columns=SHOWN // 2, zoom=2))


def _iqa(order: Order) -> None:
    from .iqa import train_iqa

    print(train_iqa(order.work, order.steps))


def _reader(order: Order) -> None:
    from .reader import train_reader

    print(train_reader(order.work, order.steps))


def _score(order: Order) -> None:
    from .adapters import SCORE_TRAINING, train_adapter

    print(train_adapter(SCORE_TRAINING, order.work, order.steps))


def _reference(order: Order) -> None:
    from .adapters import REFERENCE_TRAINING, train_adapter

    print(train_adapter(REFERENCE_TRAINING, order.work, order.steps))


def _export(order: Order) -> None:
    """Put the trained weights where the nodes load them."""
    from .export import ROUNDING, export, export_as_bytes

    for name in map(Path, (BASE_WEIGHTS, IQA_WEIGHTS, READER_WEIGHTS, SCORE.file, REFERENCE.file)):
        file = order.work / name
        target = WEIGHTS / name
        if name in (Path(READER_WEIGHTS), Path(BASE_WEIGHTS)):
            export_as_bytes(file, target)
        else:
            export(file, target, ROUNDING if name in (SCORE.file, REFERENCE.file) else 0)
        print(f"{target}: {target.stat().st_size / 1e6:.2f} MB")


# Each stage with the default of --steps
STAGES = {
    "scenes": (_scenes, 30000),
    "base": (_base, 22250),
    "iqa": (_iqa, 10),
    "reader": (_reader, 12),
    "score": (_score, 14000),
    "reference": (_reference, 8000),
    "export": (_export, 0),
}


def build(work: Path, stage: str | None = None, steps: int | None = None, minutes: float | None = None) -> None:
    """Run one stage, or all of them in order; base, score and reference on a GPU where there is one.

    Args:
        work: work folder.
        stage: a key of ``STAGES``.
        steps: training steps (scenes: pictures; iqa, reader: epochs); None for the stage's own number.
        minutes: that the stage base may take; its steps follow.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    for name in [stage] if stage else STAGES:
        run, usual = STAGES[name]
        run(Order(work, steps or usual, device, minutes))
