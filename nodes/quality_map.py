"""IMAGE + IQA_MODEL -> where the picture is bad."""

from __future__ import annotations

import comfy.utils
import torch
from comfy_api.latest import io, ui
from torch import Tensor

from ..figures.heat_map import heat_map
from ..iqa_models.batches import model_input
from ..iqa_models.loading import IQAModel
from ..iqa_models.quality_map import QualityMap, check_together, quality_map, window_and_stride, window_count
from ..quality.resize import AS_IS
from .schema import IQAModelType, advanced, further_metrics, schema

SHARE, THRESHOLD = "share", "threshold"


class IQAQualityMap(io.ComfyNode):
    """IMAGE + IQA_MODEL -> heat map, MASK of the worst part, text."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="IQAQualityMap",
            display_name="Quality Map",
            category="scoring",
            search_aliases=["heat map", "where is it bad", "blur mask", "quality mask", "local quality", "inpaint"],
            description="Shows where a picture is bad: an IQA model judges it window by window. The mask of the worst "
            "part is for inpainting, or for a quality of its own there.",
            inputs=[
                io.Image.Input("images", tooltip="Pictures, 0 to 1; each one gets a map."),
                IQAModelType.Input("iqa_model", tooltip="The metric, from Load IQA Model; of either direction."),
                io.Combo.Input(
                    "select",
                    optional=True,
                    options=[SHARE, THRESHOLD],
                    tooltip="What the mask holds: the worst share of every picture, or what is worse than a score.",
                ),
                io.Float.Input(
                    "share",
                    optional=True,
                    default=0.25,
                    min=0.0,
                    max=1.0,
                    step=0.05,
                    round=0.001,
                    display_mode=io.NumberDisplay.slider,
                    tooltip="Size of the worst part as a share of the picture, 0 to 1. Acts where select is share.",
                ),
                io.Float.Input(
                    "threshold",
                    optional=True,
                    default=0.5,
                    min=-1000.0,
                    max=1000.0,
                    step=0.01,
                    round=0.0001,
                    tooltip="Raw score of the metric, or goodness of several (0 to 1); worse parts are in the mask. "
                    "Acts where select is threshold.",
                ),
                advanced(
                    io.Int.Input(
                        "window",
                        optional=True,
                        default=0,
                        min=0,
                        max=4096,
                        tooltip="Side of a window in pixels; smaller ones find smaller parts, and know less of each. 0 "
                        "chooses: an eighth of the shorter side, 64 at least.",
                    )
                ),
                advanced(
                    io.Int.Input(
                        "stride",
                        optional=True,
                        default=0,
                        min=0,
                        max=4096,
                        tooltip="Distance of two windows in pixels; less is finer and takes longer. 0 chooses: a "
                        "sixteenth of the shorter side.",
                    )
                ),
                *further_metrics(
                    "model",
                    "A further metric, which sees what the others do not, such as noise: the goodness of all of them, "
                    "each 0 to 1 on its range, is multiplied.",
                ),
            ],
            outputs=[
                io.Image.Output(
                    display_name="heat_map",
                    tooltip="The pictures under red (worst) to blue (best) with a scale; the mask has a white border.",
                ),
                io.Mask.Output(display_name="mask", tooltip="The worst part: 1 in it, 0 elsewhere."),
                io.String.Output(display_name="summary", tooltip="Worst and best score, and size of the mask."),
            ],
            is_output_node=True,
        )

    @classmethod
    def execute(
        cls,
        images: Tensor,
        iqa_model: IQAModel,
        select: str = SHARE,
        share: float = 0.25,
        threshold: float = 0.5,
        window: int = 0,
        stride: int = 0,
        model_2: IQAModel | None = None,
        model_3: IQAModel | None = None,
        model_4: IQAModel | None = None,
    ) -> io.NodeOutput:
        others = [model for model in (model_2, model_3, model_4) if model is not None]
        entries = [model.entry for model in (iqa_model, *others)]
        check_together(entries)
        window, stride = window_and_stride(images, max(entries, key=lambda entry: entry.minimum_side), window, stride)
        windows = window_count(*images.shape[1:3], window, stride)
        progress = comfy.utils.ProgressBar(len(images) * windows * len(entries))
        maps = [quality_map(iqa_model, image, window, stride, progress, others) for image in images]
        masks = [found.worst_share(share) if select == SHARE else found.worse_than(threshold) for found in maps]
        name = " x ".join(entry.name for entry in entries)
        shown = _heat_maps(images, maps, masks, name)
        lines = [_summary(number, *pair) for number, pair in enumerate(zip(maps, masks, strict=True), 1)]
        summary = "\n".join([f"{name}, windows of {window} pixels every {stride}", *lines])
        return io.NodeOutput(
            shown, torch.stack(masks), summary, ui=ui.PreviewImage(shown, cls=cls).as_dict() | {"text": [summary]}
        )


def _heat_maps(images: Tensor, maps: list[QualityMap], masks: list[Tensor], metric: str) -> Tensor:
    """All on one scale, ``[N, height, width, 3]``."""
    scores = torch.stack([found.scores for found in maps])
    low, high = scores.min().item(), scores.max().item()
    upwards = maps[0].higher_is_better
    worst, best = (low, high) if upwards else (high, low)
    goodness = (scores - worst) / ((best - worst) or 1)
    title = f"{metric} ({'higher' if upwards else 'lower'} is better)"
    colours = model_input(images, AS_IS, torch.device("cpu")).movedim(1, -1)
    texts = title, f"{worst:.3g} worst", f"best {best:.3g}"
    return torch.stack([heat_map(*each, *texts) for each in zip(colours, goodness, masks, strict=True)])


def _summary(number: int, found: QualityMap, mask: Tensor) -> str:
    low, high = found.scores.min().item(), found.scores.max().item()
    if low == high:
        return f"image {number}: {low:.4g} everywhere"
    worst, best = (low, high) if found.higher_is_better else (high, low)
    return f"image {number}: worst {worst:.4g}, best {best:.4g}, mask {mask.mean().item():.0%}"
