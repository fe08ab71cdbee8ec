"""The quality of a photo, onto a picture of Flux, with an adapter of one's own."""

from ._transformers import FLUX, reference_transfer

WORKFLOW = reference_transfer(FLUX)
