"""Images -> IQA_SCORES, and the best of the images."""

from __future__ import annotations

import math

from comfy_api.latest import io
from torch import Tensor

from ..iqa_models.batches import PROTOCOLS
from ..iqa_models.loading import IQAModel
from ..iqa_models.scoring import Scores, score_images
from .schema import IQAModelType, IQAScoresType, advanced, schema


class IQAScoreImages(io.ComfyNode):
    """IQA_MODELs + IMAGE -> IQA_SCORES, values of the first metric, table."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="IQAScoreImages",
            display_name="Score Images",
            category="scoring",
            search_aliases=["image quality", "iqa score", "aesthetic score", "pyiqa", "rate image"],
            description="Says how good pictures are, with one or several IQA models, and shows the numbers: raw value, "
            "and where it is known the z-score and the percentile among photos of the web.",
            inputs=[
                IQAModelType.Input("iqa_model", tooltip="The metric, from Load IQA Model."),
                io.Image.Input("images", tooltip="Pictures, 0 to 1; grey, RGB, or RGBA (seen on white)."),
                *[
                    IQAModelType.Input(f"model_{number}", optional=True, tooltip="A further metric.")
                    for number in (2, 3, 4)
                ],
                io.Combo.Input(
                    "protocol",
                    options=list(PROTOCOLS),
                    default=PROTOCOLS[0],
                    tooltip="as is: the pictures in their own size. 512: scaled to 512x512 pixels first, as the "
                    "pictures were on which adapters and percentiles are based. 64: the size of the quickstart.",
                ),
                advanced(
                    io.Int.Input(
                        "batch_size",
                        default=0,
                        min=0,
                        max=1024,
                        tooltip="Pictures judged at once, 1 to 1024; 0 chooses by their size. Less needs less memory.",
                    )
                ),
            ],
            outputs=[
                IQAScoresType.Output(display_name="iqa_scores", tooltip="All scores, raw."),
                io.Float.Output(
                    display_name="values", is_output_list=True, tooltip="Raw scores of the first metric, a list."
                ),
                io.String.Output(display_name="table", tooltip="The numbers as text."),
            ],
            is_output_node=True,
        )

    @classmethod
    def execute(
        cls,
        iqa_model: IQAModel,
        images: Tensor,
        model_2: IQAModel | None = None,
        model_3: IQAModel | None = None,
        model_4: IQAModel | None = None,
        protocol: str = PROTOCOLS[0],
        batch_size: int = 0,
    ) -> io.NodeOutput:
        models = [model for model in (iqa_model, model_2, model_3, model_4) if model is not None]
        scores = score_images(models, images, protocol, batch_size)
        table = scores.table()
        shown = {"text": [table], "scores": [_finite(scores.by_metric())]}
        return io.NodeOutput(scores, scores.values[:, 0].tolist(), table, ui=shown)


class IQASelectBest(io.ComfyNode):
    """IMAGE + IQA_SCORES -> the best of them, best first."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="IQASelectBest",
            display_name="Select Best Images",
            category="scoring",
            search_aliases=["best of n", "top k images", "filter by quality", "pick best"],
            description="Keeps the best of a batch, best first, by the scores of Score Images.",
            inputs=[
                io.Image.Input("images", tooltip="The batch that was scored."),
                IQAScoresType.Input("iqa_scores", tooltip="Its scores, from Score Images."),
                io.Int.Input(
                    "count", default=1, min=1, max=4096, tooltip="How many to keep, 1 to 4096; all if there are fewer."
                ),
                advanced(
                    io.String.Input(
                        "metric",
                        default="",
                        optional=True,
                        placeholder="topiq_nr",
                        tooltip="The metric that decides, where several were measured; empty for the first.",
                    )
                ),
            ],
            outputs=[
                io.Image.Output(display_name="images", tooltip="The best ones, best first."),
                io.Int.Output(
                    display_name="indices", is_output_list=True, tooltip="Their places in the batch, from 0, a list."
                ),
            ],
        )

    @classmethod
    def execute(cls, images: Tensor, iqa_scores: Scores, count: int, metric: str = "") -> io.NodeOutput:
        if len(iqa_scores) != len(images):
            raise ValueError(
                f"The scores are of {len(iqa_scores)} images, but {len(images)} are to choose from. Connect the batch "
                "that was scored."
            )
        best = iqa_scores.best(count, metric.strip())
        return io.NodeOutput(images[best], best)


def _finite(columns: dict[str, list[float]]) -> dict[str, list[float | None]]:
    """NaN as None: JSON knows no NaN."""
    return {name: [value if math.isfinite(value) else None for value in column] for name, column in columns.items()}
