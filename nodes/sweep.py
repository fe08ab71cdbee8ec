"""Many qualities at once: sweep, labelled grid, response curve."""

from __future__ import annotations

import re

import numpy as np
import torch
from comfy_api.latest import io, ui

from ..adapter.adapter import Adapter
from ..adapter.tokens import embed_quality
from ..figures.curve import Response
from ..figures.grid import labelled_grid
from ..figures.score_lines import ScoreLine
from ..iqa_models import catalogue
from ..iqa_models.score_text import standings
from ..iqa_models.scoring import Scores
from ..quality.targets import requested as standardised
from .conditioning import adapter_metrics
from .schema import IQAAdapterType, IQAEmbedsType, IQAScoresType, advanced, schema

MEDIAN = 50.0


class IQAQualitySweep(io.ComfyNode):
    """IQA_ADAPTER + LATENT -> IQA_EMBEDS and LATENT for every combination of percentiles."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="IQAQualitySweep",
            display_name="Quality Sweep",
            category="conditioning",
            search_aliases=["xy", "xy plot", "quality grid", "compare quality levels"],
            description="Draws every picture of the latent once per quality, all with the same noise, in one batch.",
            inputs=[
                IQAAdapterType.Input("iqa_adapter", tooltip="A score-based IQA-Adapter."),
                io.Latent.Input(
                    "latent", tooltip="Empty latent, or pictures for image-to-image; each is repeated for every target."
                ),
                io.String.Input(
                    "rows",
                    default="1, 25, 50, 75, 99",
                    tooltip="Quality percentiles, 0 to 100, separated by commas: one row of the grid each.",
                ),
                io.String.Input(
                    "columns",
                    default="",
                    placeholder="1, 50, 99",
                    tooltip="Aesthetics percentiles, 0 to 100, separated by commas; empty for 50 only.",
                ),
            ],
            outputs=[
                IQAEmbedsType.Output(display_name="iqa_embeds", tooltip="For Apply IQA-Adapter; one per picture."),
                io.Latent.Output(tooltip="For the sampler: the latent repeated, with the same noise for every target."),
                io.Int.Output(display_name="batch_size", tooltip="Pictures in all."),
                io.Int.Output(display_name="grid_columns", tooltip="For Labelled Grid: a row per quality."),
                io.String.Output(display_name="labels", tooltip="A line per picture, for Labelled Grid."),
                io.String.Output(display_name="requested", tooltip="Quality percentiles, one per picture."),
            ],
        )

    @classmethod
    def execute(cls, iqa_adapter: Adapter, latent: dict, rows: str, columns: str) -> io.NodeOutput:
        metrics = adapter_metrics(iqa_adapter)
        pictures = len(latent["samples"])
        qualities, aesthetics = percentiles(rows, "rows"), percentiles(columns, "columns") or [MEDIAN]
        if not qualities:
            raise ValueError("The sweep has no rows; write quality percentiles such as 1, 50, 99.")
        targets = [(quality, appeal) for quality in qualities for appeal in aesthetics]
        request = torch.cat([standardised(metrics, *target) for target in targets])
        tokens = embed_quality(iqa_adapter, request.repeat_interleave(pictures, 0))
        return io.NodeOutput(
            tokens,
            _repeated(latent, len(targets)),
            len(targets) * pictures,
            len(aesthetics) * pictures,
            "\n".join(_label(*target, bool(columns.strip())) for target in targets for _ in range(pictures)),
            ", ".join(f"{quality:g}" for quality, _ in targets for _ in range(pictures)),
        )


class IQAImageGrid(io.ComfyNode):
    """IMAGE -> one IMAGE with captions."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="IQAImageGrid",
            display_name="Labelled Grid",
            category="results",
            search_aliases=["contact sheet", "image grid", "caption images"],
            description="Puts the pictures of a batch into one, each with its label and its scores.",
            inputs=[
                io.Image.Input("images", tooltip="The batch."),
                io.String.Input(
                    "labels", default="", multiline=True, tooltip="A line per picture, for example from Quality Sweep."
                ),
                io.Int.Input("columns", default=0, min=0, max=256, tooltip="Pictures per row; 0 for about a square."),
                IQAScoresType.Input(
                    "iqa_scores",
                    optional=True,
                    tooltip="Scores to show below, from Score Images: an arrow towards better, a bar from worst to "
                    "best, and a word where the metric has statistics.",
                ),
                advanced(
                    io.Int.Input(
                        "zoom",
                        default=0,
                        min=0,
                        max=16,
                        tooltip="Enlarges every picture without smoothing, 1 to 16; 0 brings small ones to 128 pixels.",
                    )
                ),
            ],
            outputs=[io.Image.Output(tooltip="The grid.")],
        )

    @classmethod
    def execute(
        cls, images: torch.Tensor, labels: str, columns: int, iqa_scores: Scores | None = None, zoom: int = 0
    ) -> io.NodeOutput:
        captions = [line.strip() for line in labels.split("\n")] if labels.strip() else [""] * len(images)
        captions += [""] * (len(images) - len(captions))
        lines = ()
        if iqa_scores is not None:
            if len(iqa_scores) != len(images):
                raise ValueError(f"The scores are of {len(iqa_scores)} images, but the grid has {len(images)}.")
            lines = [_score_lines(iqa_scores, row) for row in iqa_scores.values.tolist()]
        return io.NodeOutput(labelled_grid(images, captions, columns, zoom, lines))


class IQAResponseCurve(io.ComfyNode):
    """IQA_SCORES + requested percentiles -> a plot and its rank correlations."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="IQAResponseCurve",
            display_name="Response Curve",
            category="results",
            search_aliases=["quality plot", "rank correlation", "spearman", "requested versus measured"],
            description="Shows how what was measured follows what was asked for.",
            inputs=[
                IQAScoresType.Input("iqa_scores", tooltip="Scores of the pictures, from Score Images."),
                io.String.Input(
                    "requested",
                    default="",
                    tooltip="The percentiles asked for, separated by commas, one per picture (from Quality Sweep) or "
                    "one per equally large group of pictures.",
                ),
                advanced(
                    io.String.Input(
                        "metric",
                        default="",
                        optional=True,
                        tooltip="Which metric, where several were measured; empty for the first.",
                    )
                ),
            ],
            outputs=[
                io.Image.Output(tooltip="The plot."),
                io.String.Output(
                    display_name="summary",
                    tooltip="Level means, and whether they follow the request (Spearman's rank correlation).",
                ),
            ],
            is_output_node=True,
        )

    @classmethod
    def execute(cls, iqa_scores: Scores, requested: str, metric: str = "") -> io.NodeOutput:
        name, measured = iqa_scores.column(metric)
        asked = np.array(percentiles(requested, "requested"))
        if len(asked) and len(measured) % len(asked) == 0:
            asked = asked.repeat(len(measured) // len(asked))
        upwards = catalogue.find(name).higher_is_better
        response = Response(asked, measured.double().numpy(), name, upwards)
        plot, summary = response.plot(), response.describe()
        return io.NodeOutput(plot, summary, ui={**ui.PreviewImage(plot, cls=cls).as_dict(), "text": [summary]})


def percentiles(text: str, what: str) -> list[float]:
    """Numbers from ``1, 25, 99``.

    Raises:
        ValueError: one is no number, or outside 0...100.
    """
    try:
        values = [float(part) for part in re.split(r"[,;\s]+", text.strip()) if part]
    except ValueError:
        raise ValueError(f"The {what} {text!r} cannot be read; write percentiles such as 1, 50, 99.") from None
    if any(not 0 <= value <= 100 for value in values):
        raise ValueError(f"The {what} {text!r} must be percentiles from 0 to 100.")
    return values


def _repeated(latent: dict, times: int) -> dict:
    """The pictures ``times`` over; equal ``batch_index`` makes ComfyUI draw equal noise."""
    pictures = len(latent["samples"])
    repeated = {**latent, "samples": latent["samples"].repeat(times, *[1] * (latent["samples"].ndim - 1))}
    repeated["batch_index"] = list(latent.get("batch_index", range(pictures))) * times
    mask = latent.get("noise_mask")
    if mask is not None and len(mask) == pictures:
        repeated["noise_mask"] = mask.repeat(times, *[1] * (mask.ndim - 1))
    return repeated


def _label(quality: float, aesthetics: float, both: bool) -> str:
    return f"quality {quality:g} %" + (f", aesthetics {aesthetics:g} %" if both else "")


def _score_lines(scores: Scores, row: list[float]) -> list[ScoreLine]:
    return [
        ScoreLine(f"{name} {value:.3g} {found.word}".strip(), catalogue.find(name).higher_is_better, found.share)
        for name, value, found in zip(scores.metrics, row, standings(scores, row), strict=True)
    ]
