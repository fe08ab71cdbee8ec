"""What a workflow is made of: nodes in columns, columns in groups.

A workflow is a module of :mod:`.workflows` with a ``WORKFLOW``; its file name is the workflow's name. ``python iqa.py
docs --workflows NAME`` builds it in ComfyUI's front end and writes three files: ``workflows/NAME.json``, the same for
the HTTP API into ``workflows/api/``, and the thumbnail ``workflows/NAME.jpg``, for which it is run with the quickstart
in place of checkpoint, adapter and IQA models (:mod:`.with_quickstart`). For example::

    from ..workflow import Group, Node, Note, Shot, Workflow

    model = Node("IQAQuickstartModel", batch_size=4)
    prompt = Node("CLIPTextEncode", "Prompt", clip=model["CLIP"], text="a dotted pink ring on teal stripes")
    ...
    save = Node("SaveImage", "Save the picture", images=decode["IMAGE"], filename_prefix="name").sized(400, 480)

    WORKFLOW = Workflow(
        Group("1  Model and prompt", [model, prompt, Note("The model **comes with the pack**.")]),
        Group("2  Draw", [sampler, decode], [save]),
        thumbnail=(Shot("Save the picture"),),
    )

- ``Node(type, title, input=value_or_output, ...)``: an input is a value, or the output of another node by name or
  number (``model["CLIP"]``, ``model[1]``). Inputs that are not named keep their defaults; seeds stay fixed.
- Every list of a group is a column. Heights come from the front end, in the classic view and in Nodes 2.0, so that
  nothing overlaps in either; ``sized(width, height)`` asks for more, which nodes that show pictures need (all nodes
  of a column get the width of the widest).
- The workflow opens on its first group, which must fit into a window of 1600 x 900 at a zoom of 0.8 at least; that is
  checked. So are notes: three lines at most.
- ``download(name, folder, address)`` tells which model file the node needs, so that ComfyUI offers it.
- A thumbnail is one picture, whatever the version of ComfyUI: neither compares or swaps pictures of custom nodes'
  templates. With two :class:`Shot` it shows the left half of the first and the right half of the second; with three,
  the first of them small in a corner. Captions are a word or two.
- ``quickstart={"KSampler": {"seed": 3}}`` changes inputs for the thumbnail's run and the tests, by titles of nodes;
  ``blurred_below="Your photo"`` blurs the lower half of a node's picture there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

LEAST_WIDTH = 340  # of a column, in pixels at full size
LONGEST_NOTE = 3  # lines


@dataclass(frozen=True)
class Output:
    """An output of a node, by its name or number."""

    node: Node
    name: str | int


class Node:
    """A node; its inputs are values or outputs of other nodes."""

    def __init__(self, type: str, title: str = "", /, **inputs):
        self.type, self.title, self.inputs = type, title, inputs
        self.width, self.height = LEAST_WIDTH, 0
        self.models: list[dict[str, str]] = []

    def __getitem__(self, output: str | int) -> Output:
        return Output(self, output)

    def sized(self, width: int, height: int = 0) -> Node:
        """At least so large, in pixels at full size, without the title's bar."""
        self.width, self.height = width, height
        return self

    def download(self, name: str, folder: str, address: str) -> Node:
        """Needs the file ``models/folder/name``, which is to be had at an address."""
        self.models.append({"name": name, "url": address, "directory": folder})
        return self


class Note(Node):
    """A note in Markdown, three lines at most."""

    def __init__(self, text: str, title: str = "Note"):
        super().__init__("MarkdownNote", title, text=text)


class Group:
    """Columns of nodes in a frame with a title."""

    def __init__(self, title: str, *columns: list[Node]):
        self.title, self.columns = title, columns


@dataclass(frozen=True)
class Shot:
    """A picture of a run.

    Attributes:
        title: of the node that shows it.
        caption: what it is, in a word or two.
        number: which of the node's pictures.
        key: of the node's results, where it is not ``images``.
    """

    title: str
    caption: str = ""
    number: int = 0
    key: str = "images"


@dataclass(frozen=True, init=False)
class Workflow:
    """Groups from left to right, and how its thumbnail is made.

    Attributes:
        groups: from left to right; the first is what one sees when it is opened.
        thumbnail: the pictures in it.
        quickstart: further inputs where the quickstart draws, by titles of nodes.
        blurred_below: title of the node whose picture gets a blurred lower half there.
    """

    groups: tuple[Group, ...]
    thumbnail: tuple[Shot, ...]
    quickstart: Mapping[str, Mapping] = field(default_factory=dict)
    blurred_below: str = ""

    def __init__(
        self,
        *groups: Group,
        thumbnail: tuple[Shot, ...],
        quickstart: Mapping[str, Mapping] | None = None,
        blurred_below: str = "",
    ):
        object.__setattr__(self, "groups", groups)
        object.__setattr__(self, "thumbnail", thumbnail)
        object.__setattr__(self, "quickstart", quickstart or {})
        object.__setattr__(self, "blurred_below", blurred_below)

    @property
    def nodes(self) -> list[Node]:
        """In the order of their numbers: notes last."""
        found = [node for group in self.groups for column in group.columns for node in column]
        return sorted(found, key=lambda node: isinstance(node, Note))

    def described(self) -> list[dict]:
        """The nodes as JSON for the front end; a link is ``{"node": index, "output": name or number}``."""
        index = {node: number for number, node in enumerate(self.nodes)}

        def value(given):
            return {"node": index[given.node], "output": given.name} if isinstance(given, Output) else {"value": given}

        return [
            {
                "type": node.type,
                "title": node.title,
                "size": [node.width, node.height],
                "models": node.models,
                "inputs": {name: value(given) for name, given in node.inputs.items()},
            }
            for node in self.nodes
        ]
