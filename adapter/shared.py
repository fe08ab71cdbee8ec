"""Objects that copies of the dictionary around them share."""

from __future__ import annotations


class Shared:
    """Base of what never changes, or belongs to one sampling run, and would be expensive to copy.

    ComfyUI deep-copies the options of a model with every clone, and other packs deep-copy conditionings.
    """

    def __deepcopy__(self, memo: dict) -> Shared:
        return self
