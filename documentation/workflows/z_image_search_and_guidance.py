"""Better pictures of Z-Image without an adapter: search and guidance."""

from ._transformers import Z_IMAGE, search_and_guidance

WORKFLOW = search_and_guidance(Z_IMAGE)
