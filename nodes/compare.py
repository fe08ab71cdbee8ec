"""Two IMAGEs, seen over each other."""

from __future__ import annotations

from comfy_api.latest import io, ui
from torch import Tensor

from .schema import schema


class IQACompare(io.ComfyNode):
    """Two IMAGEs -> a viewer on the node."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="IQACompare",
            display_name="Before and After",
            category="results",
            search_aliases=["compare images", "before after", "slider", "image compare", "difference"],
            description="Shows two pictures over each other, with an edge between them to drag.",
            inputs=[
                io.Image.Input("before", tooltip="The picture to the left of the edge; a batch makes pairs."),
                io.Image.Input("after", tooltip="The picture to its right; where one batch is shorter, it repeats."),
            ],
            outputs=[],
            is_output_node=True,
        )

    @classmethod
    def execute(cls, before: Tensor, after: Tensor) -> io.NodeOutput:
        pairs = max(len(before), len(after))
        saved = [ui.PreviewImage(pictures, cls=cls).as_dict()["images"] for pictures in (before, after)]
        left, right = ([side[number % len(side)] for number in range(pairs)] for side in saved)
        # the script shows a_images and b_images; without it ComfyUI shows images beside each other
        both = [picture for pair in zip(left, right, strict=True) for picture in pair]
        return io.NodeOutput(ui={"images": both, "a_images": left, "b_images": right})
