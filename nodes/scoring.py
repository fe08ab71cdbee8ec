"""Images -> IQA_SCORES, and the best of the images."""

from __future__ import annotations

import math
import os

import folder_paths
import torch
from comfy_api.latest import io
from comfy_execution.graph_utils import ExecutionBlocker
from torch import Tensor

from ..files import write_text
from ..iqa_models import catalogue
from ..iqa_models.loading import IQAModel
from ..iqa_models.score_text import comma_separated, meanings, table
from ..iqa_models.scoring import Scores, score_images
from ..iqa_models.selection import select
from ..quality.resize import AS_IS, RESIZES
from ..quality.thresholds import parse_thresholds
from ..training.names import check_prefix
from .schema import (
    IQAModelType,
    IQAScoresType,
    advanced,
    further_metrics,
    latents_one_by_one,
    pictures,
    resize_input,
    schema,
    single,
)


class IQAScoreImages(io.ComfyNode):
    """IQA_MODELs + IMAGEs -> IQA_SCORES, values of the first metric, table."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="IQAScoreImages",
            display_name="Score Images",
            category="scoring",
            search_aliases=["score", "image quality", "rate image", "measure quality", "pyiqa"],
            description="Says how good pictures are, with one or several IQA models, and shows the numbers: raw value, "
            "and where it is known for this resize the z-score and the percentile among photos of the web.",
            is_input_list=True,
            inputs=[
                IQAModelType.Input("iqa_model", tooltip="The metric, from Load IQA Model."),
                io.Image.Input(
                    "images",
                    tooltip="Pictures, 0 to 1; grey, RGB, or RGBA (seen on white). A list may hold pictures of "
                    "different sizes.",
                ),
                *further_metrics("model", "A further metric."),
                resize_input(
                    "as is: the pictures in their own size. 512: scaled to 512x512 pixels first, as the pictures were "
                    "on which the released adapters and the percentiles are based. 64: the size of the quickstart.",
                    RESIZES,
                    AS_IS,
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
                advanced(
                    io.String.Input(
                        "csv",
                        default="",
                        optional=True,
                        placeholder="iqa_scores/scores",
                        tooltip="Beginning of the name of a CSV file in ComfyUI's output folder, one line per picture; "
                        "a number is added. Empty for none.",
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
        iqa_model: list[IQAModel],
        images: list[Tensor],
        model_2: list[IQAModel] = (),
        model_3: list[IQAModel] = (),
        model_4: list[IQAModel] = (),
        protocol: list[str] = (AS_IS,),
        batch_size: list[int] = (0,),
        csv: list[str] = ("",),
    ) -> io.NodeOutput:
        models = [*iqa_model, *model_2, *model_3, *model_4]
        resize, at_once = single(protocol, "resize"), single(batch_size, "batch_size")
        prefix = single(csv, "csv").strip()
        check_prefix(prefix)
        scores = score_images(models, pictures(images), resize, at_once)
        text = table(scores)
        shown = {"text": [text], "scores": [_finite(scores.by_metric())], "meanings": meanings(scores)}
        if prefix:
            shown["text"].append(f"written to {_write_csv(scores, prefix)}")
        return io.NodeOutput(scores, scores.values[:, 0].tolist(), text, ui=shown)


class IQASelectBest(io.ComfyNode):
    """IMAGEs + IQA_SCORES -> the best of them, best first."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="IQASelectBest",
            display_name="Select Best Images",
            category="scoring",
            search_aliases=["best of", "best of n", "top k images", "filter by quality", "pick best"],
            description="Keeps the best pictures and their latents, best first, by the scores of Score Images.",
            is_input_list=True,
            inputs=[
                io.Image.Input("images", tooltip="The pictures that were scored, a batch or a list."),
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
                io.Latent.Input(
                    "latent",
                    optional=True,
                    tooltip="Latents of the pictures, one for each, a batch or a list; the best are passed on.",
                ),
                io.String.Input(
                    "thresholds",
                    default="",
                    optional=True,
                    placeholder="topiq_nr=0.6, laion_aes=p80",
                    tooltip="Scores that a picture must reach to be kept: raw (0.6), better than so many % (p80) or "
                    "z-score (+1z). Empty for none.",
                ),
                advanced(
                    io.String.Input(
                        "check_with",
                        default="",
                        optional=True,
                        placeholder="piqe",
                        tooltip="Another measured metric, which does not decide: the summary says whether the kept "
                        "pictures are better or worse in it. Empty for none.",
                    )
                ),
            ],
            outputs=[
                io.Image.Output(
                    display_name="images",
                    is_output_list=True,
                    tooltip="The best ones, best first: one batch, or a list where their sizes differ.",
                ),
                io.Int.Output(
                    display_name="indices",
                    is_output_list=True,
                    tooltip="Their places among all pictures, from 0, a list.",
                ),
                io.Latent.Output(
                    display_name="latent",
                    is_output_list=True,
                    tooltip="Their latents: one batch, or a list where their sizes differ.",
                ),
                io.String.Output(display_name="summary", tooltip="What was kept, with a warning if any."),
            ],
        )

    @classmethod
    def execute(
        cls,
        images: list[Tensor],
        iqa_scores: list[Scores],
        count: list[int],
        metric: list[str] = ("",),
        latent: list[dict] = (),
        thresholds: list[str] = ("",),
        check_with: list[str] = ("",),
    ) -> io.NodeOutput:
        scores, found, latents = single(iqa_scores, "iqa_scores"), pictures(images), latents_one_by_one(latent)
        for name, given in (("images", found), ("latents", latents)):
            if len(scores) != len(given) and (given or name == "images"):
                raise ValueError(
                    f"The scores are of {len(scores)} images, but {len(given)} {name} are to choose from. Connect the "
                    f"{name} of those that were scored."
                )
        wanted = parse_thresholds(
            single(thresholds, "thresholds"), scores.metrics, scores.statistics(), scores.resize, catalogue.names()
        )
        asked = single(count, "count"), single(metric, "metric"), wanted, single(check_with, "check_with")
        selection = select(scores, *asked)
        kept = [found[number] for number in selection.chosen]
        alike = len({picture.shape for picture in kept}) == 1
        shown = [torch.stack(kept)] if alike else [picture[None] for picture in kept]
        return io.NodeOutput(shown, selection.chosen, _chosen_latents(latents, selection.chosen), selection.summary())


def _chosen_latents(latents: list[dict], chosen: list[int]) -> list:
    """One LATENT where all have one shape, else a list; what is connected there says so where none were given."""
    if not latents:
        return [ExecutionBlocker("Select Best Images got no latents; connect those of the pictures to its latent.")]
    kept = [latents[number] for number in chosen]
    if len({each["samples"].shape for each in kept}) > 1:
        return kept
    return [{"samples": torch.cat([each["samples"] for each in kept])}]


def _write_csv(scores: Scores, prefix: str) -> str:
    """The file's path in the output folder."""
    folder, name, counter, subfolder, _ = folder_paths.get_save_image_path(
        prefix.removesuffix(".csv"), folder_paths.get_output_directory()
    )
    file = f"{name}_{counter:05}_.csv"
    write_text(os.path.join(folder, file), comma_separated(scores))
    return os.path.join(subfolder, file)


def _finite(columns: dict[str, list[float]]) -> dict[str, list[float | None]]:
    """NaN as None: JSON knows no NaN."""
    return {name: [value if math.isfinite(value) else None for value in column] for name, column in columns.items()}
