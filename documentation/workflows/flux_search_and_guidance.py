"""Better pictures of Flux without an adapter: search and guidance."""

from ._transformers import FLUX, search_and_guidance

WORKFLOW = search_and_guidance(FLUX)
