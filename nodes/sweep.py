"""Many qualities at once: sweep, labelled grid, response curve."""

from __future__ import annotations

import numpy as np
import torch
from comfy_api.latest import io, ui

from ..adapter.adapter import Adapter
from ..adapter.tokens import QualityTokens, embed_quality
from ..figures import curve
from ..figures.grid import labelled_grid
from ..figures.score_lines import ScoreLine
from ..iqa_models import catalogue
from ..iqa_models.score_text import standings
from ..iqa_models.scoring import Scores
from ..quality.entries import numbers
from ..quality.resize import differ, in_words
from ..quality.sweep import AESTHETICS, QUALITY, Sweep, axis
from .conditioning import adapter_metrics
from .schema import IQAAdapterType, IQAEmbedsType, IQAScoresType, advanced, schema

MEDIAN = 50.0


class IQAQualitySweep(io.ComfyNode):
    """IQA_ADAPTER + LATENT -> IQA_EMBEDS and LATENT for every combination of percentiles or strengths."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        percentile = {"min": 0.0, "max": 100.0, "step": 1.0, "round": 0.01}
        axes = "quality, aesthetics, strength, or the name of one of the adapter's metrics."
        return schema(
            node_id="IQAQualitySweep",
            display_name="Quality Sweep",
            category="conditioning",
            search_aliases=["xy", "xy plot", "quality grid", "compare quality levels", "strength sweep"],
            description="Draws every picture of the latent once per quality, all with the same noise, in one batch.",
            inputs=[
                IQAAdapterType.Input("iqa_adapter", tooltip="A score-based IQA-Adapter."),
                io.Latent.Input(
                    "latent", tooltip="Empty latent, or pictures for image-to-image; each is repeated for every target."
                ),
                io.String.Input(
                    "rows",
                    default="1, 25, 50, 75, 99",
                    tooltip="Percentiles, 0 to 100, or strengths, separated by commas: one row of the grid each. What "
                    "they are of is said in rows_are.",
                ),
                io.String.Input(
                    "columns",
                    default="",
                    placeholder="1, 50, 99",
                    tooltip="The same for the columns, of what columns_are says; empty for one column.",
                ),
                advanced(
                    io.String.Input(
                        "rows_are", default=QUALITY, optional=True, tooltip=f"What changes from row to row: {axes}"
                    )
                ),
                advanced(
                    io.String.Input(
                        "columns_are",
                        default=AESTHETICS,
                        optional=True,
                        tooltip=f"What changes from column to column: {axes}",
                    )
                ),
                advanced(
                    io.Float.Input(
                        "quality",
                        default=99.0,
                        optional=True,
                        tooltip="Percentile of the technical metrics, 0 to 100, where neither rows nor columns set it.",
                        **percentile,
                    )
                ),
                advanced(
                    io.Float.Input(
                        "aesthetics",
                        default=MEDIAN,
                        optional=True,
                        tooltip="Percentile of the aesthetic metrics, 0 to 100, where neither rows nor columns set it.",
                        **percentile,
                    )
                ),
            ],
            outputs=[
                IQAEmbedsType.Output(display_name="iqa_embeds", tooltip="For Apply IQA-Adapter; one per picture."),
                io.Latent.Output(tooltip="For the sampler: the latent repeated, with the same noise for every target."),
                io.Int.Output(display_name="batch_size", tooltip="Pictures in all."),
                io.Int.Output(display_name="grid_columns", tooltip="For Labelled Grid: a row per value of rows."),
                io.String.Output(display_name="labels", tooltip="A line per picture, for Labelled Grid."),
                io.String.Output(display_name="requested", tooltip="The value of rows, one per picture."),
            ],
        )

    @classmethod
    def execute(
        cls,
        iqa_adapter: Adapter,
        latent: dict,
        rows: str,
        columns: str,
        rows_are: str = QUALITY,
        columns_are: str = AESTHETICS,
        quality: float = 99.0,
        aesthetics: float = MEDIAN,
    ) -> io.NodeOutput:
        metrics, names = adapter_metrics(iqa_adapter), catalogue.names()
        across = axis(columns_are, columns, "columns", metrics, names) if columns.strip() else None
        sweep = Sweep(tuple(metrics), axis(rows_are, rows, "rows", metrics, names), across, quality, aesthetics)
        pictures, targets = len(latent["samples"]), sweep.targets
        each = [target for target in targets for _ in range(pictures)]
        return io.NodeOutput(
            _tokens(iqa_adapter, sweep, each),
            _repeated(latent, len(targets)),
            len(each),
            len(targets) // len(sweep.rows.values) * pictures,
            "\n".join(map(sweep.label, each)),
            ", ".join(f"{row:g}" for row, _ in each),
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
    """IQA_SCORES + requested percentiles -> a plot, and in words whether what was measured follows."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="IQAResponseCurve",
            display_name="Response Curve",
            category="results",
            search_aliases=["quality plot", "rank correlation", "spearman", "requested versus measured"],
            description="Shows how what was measured follows what was asked for, and whether metrics that nobody asked "
            "for follow or fall.",
            inputs=[
                IQAScoresType.Input("iqa_scores", tooltip="Scores of the pictures, from Score Images."),
                io.String.Input(
                    "requested",
                    default="",
                    tooltip="The percentiles (or strengths) asked for, separated by commas, one per picture (from "
                    "Quality Sweep) or one per equally large group of pictures.",
                ),
                advanced(
                    io.String.Input(
                        "metric",
                        default="",
                        optional=True,
                        tooltip="Which metric to show, where several were measured; empty for all of them.",
                    )
                ),
                IQAScoresType.Input(
                    "base_scores",
                    optional=True,
                    tooltip="Scores of pictures of the model without the adapter, whose level is then shown; of the "
                    "same metrics and resize.",
                ),
                advanced(
                    io.String.Input(
                        "asked",
                        default="",
                        optional=True,
                        placeholder="topiq_nr, laion_aes",
                        tooltip="The metrics that were asked for, separated by commas; empty for the first. Of the "
                        "others it is said whether they follow or fall.",
                    )
                ),
                advanced(
                    io.String.Input(
                        "requested_are",
                        default=QUALITY,
                        optional=True,
                        tooltip="What was requested, as rows_are of Quality Sweep; strength is no percentile.",
                    )
                ),
            ],
            outputs=[
                io.Image.Output(tooltip="The plot: pictures, median and quartiles, and the base model's level."),
                io.String.Output(
                    display_name="summary",
                    tooltip="Level means and quartiles, and whether they follow the request (Spearman's rank "
                    "correlation).",
                ),
            ],
            is_output_node=True,
        )

    @classmethod
    def execute(
        cls,
        iqa_scores: Scores,
        requested: str,
        metric: str = "",
        base_scores: Scores | None = None,
        asked: str = "",
        requested_are: str = QUALITY,
    ) -> io.NodeOutput:
        first = iqa_scores.metrics[0]
        shown = [iqa_scores.column(metric)[0]] if metric.strip() else list(iqa_scores.metrics)
        wanted = [iqa_scores.column(name)[0] for name in asked.split(",") if name.strip()] or [first]
        if base_scores is not None and differ(base_scores.resize, iqa_scores.resize):
            raise ValueError(
                f"The base model's pictures were judged {in_words(base_scores.resize)}, the others "
                f"{in_words(iqa_scores.resize)}. Score both with the same resize."
            )
        levels = per_picture(requested, len(iqa_scores))
        responses = [_response(name, levels, iqa_scores, base_scores, requested_are.strip()) for name in shown]
        plot, summary = curve.plot_responses(responses), curve.in_words(responses, wanted)
        return io.NodeOutput(plot, summary, ui={**ui.PreviewImage(plot, cls=cls).as_dict(), "text": [summary]})


def per_picture(requested: str, pictures: int) -> np.ndarray:
    """Requests ``[pictures]`` from text, where equally large groups of pictures in a row may share one."""
    asked = np.array(numbers(requested, "requested"))
    if len(asked) and pictures % len(asked) == 0:
        asked = asked.repeat(pictures // len(asked))
    return asked


def _response(name: str, levels: np.ndarray, scores: Scores, base: Scores | None, moved: str) -> curve.Response:
    measured = scores.column(name)[1].double().numpy()
    plain = None if base is None else base.column(name)[1].double().numpy()
    return curve.Response(levels, measured, name, catalogue.find(name).higher_is_better, plain, moved)


def _tokens(adapter: Adapter, sweep: Sweep, targets: list[tuple]) -> QualityTokens:
    """A row per picture; each is embedded alone, so that it is the same to the bit as that of a single run."""
    found = {target: embed_quality(adapter, sweep.request(target)) for target in set(targets)}
    cond, uncond = (torch.cat([getattr(found[target], side) for target in targets]) for side in ("cond", "uncond"))
    strengths = tuple(map(sweep.strength, targets)) if sweep.sweeps_strength else None
    return QualityTokens(adapter, cond, uncond, strengths)


def _repeated(latent: dict, times: int) -> dict:
    """The pictures ``times`` over; equal ``batch_index`` makes ComfyUI draw equal noise."""
    pictures = len(latent["samples"])
    repeated = {**latent, "samples": latent["samples"].repeat(times, *[1] * (latent["samples"].ndim - 1))}
    repeated["batch_index"] = list(latent.get("batch_index", range(pictures))) * times
    mask = latent.get("noise_mask")
    if mask is not None and len(mask) == pictures:
        repeated["noise_mask"] = mask.repeat(times, *[1] * (mask.ndim - 1))
    return repeated


def _score_lines(scores: Scores, row: list[float]) -> list[ScoreLine]:
    return [
        ScoreLine(f"{name} {value:.3g} {found.word}".strip(), catalogue.find(name).higher_is_better, found.share)
        for name, value, found in zip(scores.metrics, row, standings(scores, row), strict=True)
    ]
