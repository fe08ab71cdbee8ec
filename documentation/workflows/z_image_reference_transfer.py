"""The quality of a photo, onto a picture of Z-Image, with an adapter of one's own."""

from ._transformers import Z_IMAGE, reference_transfer

WORKFLOW = reference_transfer(Z_IMAGE)
