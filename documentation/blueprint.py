"""What a subgraph blueprint is made of.

A blueprint is a module of :mod:`.subgraphs` with a ``BLUEPRINT``. ``python iqa.py docs --workflows MODULE`` builds it
in ComfyUI's front end and writes ``subgraphs/NAME.json``, which ComfyUI lists by that name among the nodes, from 0.3.75
on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .workflow import Group, Node, Output, Workflow


@dataclass(frozen=True)
class Blueprint:
    """Nodes that appear as one.

    Attributes:
        name: under which it is listed.
        description: what it does, in a sentence.
        aliases: words by which it is found, too.
        columns: its nodes, from left to right.
        inputs: by name: inputs of its nodes that one connection from outside serves.
        outputs: by name.
        widgets: node and input of each value that is shown on the outside, from top to bottom.
    """

    name: str
    description: str
    aliases: Sequence[str]
    columns: Sequence[Sequence[Node]]
    inputs: Mapping[str, Sequence[tuple[Node, str]]]
    outputs: Mapping[str, Output]
    widgets: Sequence[tuple[Node, str]]

    @property
    def inside(self) -> Workflow:
        """The nodes as a workflow, for their layout."""
        return Workflow(Group(self.name, *map(list, self.columns)), thumbnail=())

    def described(self) -> dict:
        """What is on the outside, as JSON for the front end; nodes by their index."""
        index = {node: number for number, node in enumerate(self.inside.nodes)}
        return {
            "name": self.name,
            "inputs": [
                {"name": name, "to": [[index[node], of_node] for node, of_node in targets]}
                for name, targets in self.inputs.items()
            ],
            "outputs": [
                {"name": name, "node": index[out.node], "output": out.name} for name, out in self.outputs.items()
            ],
            "widgets": [[index[node], name] for node, name in self.widgets],
        }
