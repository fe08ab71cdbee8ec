"""Quality sliders for Stable Diffusion 1.5, with an adapter of one's own."""

from ._checkpoints import SD15_ADAPTER, SD15_SIZE, drawing, sd15
from ._sliders import sliders

WORKFLOW = sliders(
    drawing(sd15(), SD15_SIZE),
    SD15_ADAPTER,
    "",
    "Choose the adapter that you trained for SD1.5: template *train_score_adapter*.",
    "sd15_quality",
    {"quality": 1.0, "aesthetics": 50.0},
)
