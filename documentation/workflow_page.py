"""ComfyUI's front end as the place where workflows are laid out and saved."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

from .blueprint import Blueprint
from .front_end import front_end
from .workflow import LONGEST_NOTE, Note, Workflow

SCRIPT = Path(__file__).parent / "workflow_page.js"

# Pixels of the graph. Nodes 2.0 draws everything MODERN times as large, in places that are as many times apart
TITLE, GAP, EDGE, HEAD, MODERN = 30, 24, 20, 50, 1.2
WINDOW = 1600, 900
SCREEN = 1490, 745  # what such a window shows beside the front end's bars
LEAST_ZOOM = 0.8  # at which texts can be read
CORNER = 90, 135  # where these bars leave the first group's corner
# What Nodes 2.0 of 0.33 needs beyond 0.3.75, and the room for what nodes show once they have run
LEAST_HEIGHTS = {"IQAImageGrid": 260, "IQAQualitySweep": 260, "IQAAdapterLoader": 230, "IQAScoreImages": 500}
COLOURS = ("#3f789e", "#8888aa", "#88aa88", "#b58b2a", "#aa8888", "#3f789e", "#8888aa")

Box = tuple[float, float, float, float]  # x, y, width, height


@contextlib.contextmanager
def open_page(address: str) -> Iterator[Page]:
    """The front end of the server at an address.

    Raises:
        ValueError: there is no Playwright, or no browser.
    """
    with front_end(address, *WINDOW) as page:
        yield Page(page)


class Page:
    """Builds workflows in an open front end."""

    def __init__(self, page):
        self.page = page
        source = SCRIPT.read_text(encoding="utf-8")
        self.page.evaluate(
            """async source => { window.workflowPage =
            await import(URL.createObjectURL(new Blob([source], { type: "text/javascript" }))); }""",
            source,
        )

    def build(self, workflow: Workflow) -> tuple[dict, dict]:
        """Both forms of a workflow, as the front end saves them.

        Raises:
            ValueError: the first group does not fit on the screen at a readable zoom, or a note is too long.
        """
        self._call("build", workflow.described())
        boxes, groups = layout(workflow, self._heights(workflow))
        lines = self._call("noteLines")
        notes = [node for node in workflow.nodes if isinstance(node, Note)]
        for note, count in zip(notes, lines, strict=True):
            if count > LONGEST_NOTE:
                raise ValueError(f"The note {note.inputs['text']!r} takes {count} lines; {LONGEST_NOTE} at most.")
        self._call("place", boxes, groups)
        saved = json.loads(self._call("save"))
        return saved["workflow"], saved["output"]

    def build_blueprint(self, blueprint: Blueprint) -> dict:
        """What the front end copies when the nodes have become a subgraph: ``nodes`` and ``subgraphs``."""
        self._call("build", blueprint.inside.described())
        boxes, _ = layout(blueprint.inside, self._heights(blueprint.inside))
        self._call("place", boxes)
        return json.loads(self._call("blueprint", blueprint.described()))

    def _heights(self, workflow: Workflow) -> list[float]:
        """Of the nodes without title bars, so that neither view needs more."""
        widths = [width for _, width in columns(workflow).values()]
        classic = self._call("classicHeights", widths)
        wanted = [max(node.height, LEAST_HEIGHTS.get(node.type, 0)) for node in workflow.nodes]
        heights = list(map(max, wanted, classic))
        provisional = [(index * 700, 0, *size) for index, size in enumerate(zip(widths, heights, strict=True))]
        self._call("place", provisional)
        modern = self._call("modernHeights")
        return [max(height, modern[str(index)] / MODERN - TITLE) for index, height in enumerate(heights, 1)]

    def _call(self, name: str, *arguments):
        """What a function of the script returns; its errors are ours."""
        from playwright.sync_api import Error

        try:
            return self.page.evaluate(f"given => workflowPage.{name}(...given)", list(arguments))
        except Error as error:
            raise ValueError(error.message) from error


def columns(workflow: Workflow) -> dict:
    """By node, in the order of their numbers: the number of its column, and the width of that."""
    stacks = [column for group in workflow.groups for column in group.columns]
    found = {node: (number, max(each.width for each in stack)) for number, stack in enumerate(stacks) for node in stack}
    return {node: found[node] for node in workflow.nodes}


def layout(workflow: Workflow, heights: list[float]) -> tuple[list[Box], list[dict]]:
    """Boxes of the nodes without title bars, by number, and the groups.

    Raises:
        ValueError: the first group does not fit on the screen at a readable zoom.
    """
    height_of = dict(zip(workflow.nodes, heights, strict=True))
    width_of = {node: width for node, (_, width) in columns(workflow).items()}
    boxes: dict = {}
    groups, left = [], 0.0
    for number, group in enumerate(workflow.groups):
        x, bottom = left + EDGE, 0.0
        for column in group.columns:
            y = HEAD
            for node in column:
                height = 10 * -(-height_of[node] // 10)
                boxes[node] = (x, y + TITLE, width_of[node], height)
                y += TITLE + height + GAP
            bottom = max(bottom, y - GAP)
            x += width_of[column[0]] + 2 * EDGE
        box = (left, 0, x - EDGE - left, bottom + EDGE)
        groups.append({"title": group.title, "box": box, "color": COLOURS[number % len(COLOURS)]})
        left = x
    _, _, width, height = groups[0]["box"]
    if opening_zoom(width, height) < LEAST_ZOOM:
        most = [round(side / LEAST_ZOOM) for side in SCREEN]
        raise ValueError(
            f"The first group takes {width:.0f} x {height:.0f} pixels, but {most[0]} x {most[1]} is what can be shown "
            f"at a zoom of {LEAST_ZOOM}; move a node of it to a column, or to a group, of its own."
        )
    return [boxes[node] for node in workflow.nodes], groups


def opening_zoom(width: float, height: float) -> float:
    """With which a workflow opens whose first group is so large; web/opening_view.js does so in windows of any size."""
    return min(1.0, SCREEN[0] / width, SCREEN[1] / height)
