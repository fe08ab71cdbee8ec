"""Quality sliders for SDXL, with an adapter of the method's authors."""

from ._checkpoints import SDXL_ADAPTER, SDXL_METRICS, SDXL_SIZE, drawing, sdxl
from ._sliders import sliders

WORKFLOW = sliders(
    drawing(sdxl(), SDXL_SIZE),
    SDXL_ADAPTER,
    SDXL_METRICS,
    "The authors' file goes into **models/iqa_adapter/**; the README says where it is.",
    "sdxl_quality",
    {"quality": 99.0, "aesthetics": 99.0},
)
