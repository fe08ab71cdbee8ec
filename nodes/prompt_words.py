"""Words of prompts that the quickstart never learnt, said at its node and at the prompt's."""

from __future__ import annotations

import logging
import sys
from itertools import chain

from comfy_execution.utils import get_executing_context

from ..quickstart.world import BACKGROUND_COLOURS, COLOURS, SHAPES, SURFACES, TEXTURES

KNOWN = "\n".join(
    [
        f"colours: {', '.join(COLOURS)}",
        f"shapes: {', '.join(SHAPES)}",
        f"surfaces: {', '.join(SURFACES)}",
        f"backgrounds: {', '.join(TEXTURES)} in {', '.join(BACKGROUND_COLOURS)}",
        'for example "a plain yellow star and a dotted blue heart on navy stripes"',
    ]
)


class PromptWords:
    """Listens to one quickstart text encoder.

    Args:
        node_id: of the Quickstart Model node; None where it is not in a graph.
    """

    def __init__(self, node_id: str | None):
        self._node_id = node_id
        self._unknown: dict[str | None, list[str]] = {}  # of each prompt's node
        self._logged: set[str] = set()

    def __call__(self, unknown: list[str]) -> None:
        """Note the unknown words of a prompt that is being encoded; none where all are known."""
        context = get_executing_context()
        prompt = context.node_id if context else None
        if self._unknown.get(prompt, []) == unknown:
            return
        self._unknown[prompt] = unknown
        _say(_sentence(unknown), prompt)
        _say(_sentence(list(dict.fromkeys(chain(*self._unknown.values())))), self._node_id)
        if new := [word for word in unknown if word not in self._logged]:
            self._logged.update(new)
            logging.warning(_sentence(new))


def _sentence(unknown: list[str]) -> str:
    if not unknown:
        return "The quickstart knows all words."
    return (
        f"The quickstart never learnt {', '.join(unknown)}: it draws coloured shapes on textures, such as a plain "
        "yellow star on navy stripes."
    )


def _say(text: str, node_id: str | None) -> None:
    """Show a text at a node of the graph that runs."""
    server = sys.modules.get("server")  # there is none where only the pack's rooms are used
    instance = getattr(server.PromptServer, "instance", None) if server else None
    if instance is not None and node_id is not None:
        instance.send_progress_text(text, node_id)
