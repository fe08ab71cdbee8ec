"""Quality sliders for Flux, with an adapter of one's own."""

from ._transformers import FLUX, quality_sliders

WORKFLOW = quality_sliders(FLUX)
