"""What a plan will take on one GPU, counted before anything is loaded: pictures, hours, memory.

Milliseconds of a forward of two rows on an NVIDIA H100 were measured for SDXL at 1024 pixels in float16
(docs/benchmarks.md); those of SD1.5 are that figure scaled by the multiplications of the two UNets (0.34 and 2.98
billion a picture at 512 and 1024 pixels, as their papers' code counts them). Everything else is a round number, so that
the outcome is an estimate, good to about a factor of two.
"""

from __future__ import annotations

from dataclasses import dataclass

from .cells import Cell
from .comparing import Wanted
from .plan import Plan
from .session import Session


@dataclass(frozen=True)
class Family:
    """Sizes of a family of base models.

    Attributes:
        forward: seconds of a forward of two rows for one picture of ``side`` pixels.
        decode: seconds of a picture's decoding.
        weights: GB of UNet, text encoders and VAE in 16 bits.
        picture: GB of working memory of a picture of ``side`` pixels.
        side: pixels.
    """

    forward: float
    decode: float
    weights: float
    picture: float
    side: int


FAMILIES = {"SDXL": Family(0.0516, 0.15, 7.0, 2.5, 1024), "SD1.5": Family(0.012, 0.03, 2.1, 0.7, 512)}
ADAPTED = 1.1  # times a forward with an adapter takes; 1.02 on a processor
GUIDED = 3.0  # times a step with gradient guidance takes: a decoding and a backward pass besides
METRIC, METRIC_WEIGHTS = 0.02, 1.0  # seconds of a metric for a picture at 512 pixels, GB of the largest


def estimate(session: Session, wanted: Wanted) -> str:
    """In words: pictures, hours and memory."""
    family = "SDXL" if max(session.size) > FAMILIES["SD1.5"].side else "SD1.5"
    plan: Plan = session.plan
    cells = {cell for group, _ in wanted for cell in group if isinstance(cell, Cell)}
    judged = {(cell, name) for group, names in wanted for cell in group for name in names}
    sizes, sampling = FAMILIES[family], plan.sampling
    pixels = (sampling.width or sizes.side) * (sampling.height or sizes.side) / sizes.side**2
    step = sizes.forward * pixels
    seconds = sum(
        sampling.steps * step * (ADAPTED if cell.condition.adapter else 1) * (GUIDED if cell.condition.guide else 1)
        + sizes.decode * pixels
        for cell in cells
    )
    seconds += METRIC * len(judged)
    memory = sizes.weights + METRIC_WEIGHTS + sizes.picture * pixels * sampling.batch
    disk = len(cells) * 1.6 * pixels * (sizes.side / 1024) ** 2 / 1000
    return (
        f"Estimate, counted and not measured, good to a factor of two: {len(cells):,} pictures and {len(judged):,} "
        f"scores take {seconds / 3600:.1f} hours on one H100 (two to three times as long on an RTX 4090) as {family}, "
        f"about {memory:.0f} GB of its memory with batches of {sampling.batch}, and {disk:.1f} GB of disk."
    )
