"""Quality sliders for Z-Image, with an adapter of one's own."""

from ._transformers import Z_IMAGE, quality_sliders

WORKFLOW = quality_sliders(Z_IMAGE)
