"""Sweep and its scores -> what to ask an adapter for, so that so much is measured."""

from __future__ import annotations

import logging

from comfy.model_patcher import ModelPatcher
from comfy_api.latest import io, ui

from ..adapter.adapter import Adapter
from ..adapter.model_digest import model_digest
from ..adapter.sites import family, sites
from ..figures.calibration_plot import plot_calibration
from ..files import shown
from ..iqa_models import catalogue
from ..iqa_models.scoring import Scores
from ..quality.calibration import Calibration, fitted
from ..quality.calibration_file import find_calibration, keep_calibration
from ..quality.names import unknown_metric
from ..quality.sweep import AESTHETICS, QUALITY, checked_percentiles
from .adapter_files import calibration_path
from .conditioning import adapter_metrics
from .schema import (
    IQAAdapterType,
    IQACalibrationType,
    IQAScoresType,
    advanced,
    schema,
    strength_input,
)
from .sweep import per_picture


class IQACalibrate(io.ComfyNode):
    """IQA_ADAPTER + MODEL + IQA_SCORES of a sweep -> IQA_CALIBRATION and its file; without scores the kept one."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        strength = strength_input()
        strength.tooltip = (
            "With which the adapter was applied in the sweep, -2 to 3; the calibration holds for it alone."
        )
        return schema(
            node_id="IQACalibrate",
            display_name="Calibrate Adapter",
            category="results",
            search_aliases=["calibration", "requested versus measured", "exact quality", "target score"],
            description="Learns from a sweep what to ask an adapter for, so that a wanted score is measured, and keeps "
            "it in a file. Without scores it gives back what was kept.",
            inputs=[
                IQAAdapterType.Input("iqa_adapter", tooltip="The score-based IQA-Adapter that was swept."),
                io.Model.Input(
                    "model", tooltip="The base model that was sampled, with its LoRAs; the calibration is of it alone."
                ),
                strength,
                IQAScoresType.Input(
                    "iqa_scores",
                    optional=True,
                    tooltip="Scores of the sweep's pictures, of one or several metrics, also such as the adapter was "
                    "not trained on. Without them, the calibration that was kept before.",
                ),
                io.String.Input(
                    "requested",
                    default="",
                    optional=True,
                    tooltip="The percentiles asked for, one per picture, from Quality Sweep: at least three levels of "
                    "four pictures; more make the calibration surer.",
                ),
                advanced(
                    io.String.Input(
                        "requested_are",
                        default=QUALITY,
                        optional=True,
                        tooltip="What was requested, as rows_are of Quality Sweep: quality, aesthetics, or the name of "
                        "one of the adapter's metrics.",
                    )
                ),
                advanced(
                    io.String.Input(
                        "note",
                        default="",
                        optional=True,
                        placeholder="cfg 5, 30 steps of dpmpp_2m",
                        tooltip="Kept with the calibration and shown where it is used: with which sampler, steps and "
                        "cfg it was made.",
                    )
                ),
            ],
            outputs=[
                IQACalibrationType.Output(
                    display_name="calibration", tooltip="For Quality Score Conditioning with a measured target."
                ),
                io.String.Output(
                    display_name="file",
                    tooltip="Path of the calibration's file, beside the adapter's; of the "
                    "pack's own adapters in the folder models/iqa_adapter.",
                ),
                io.Image.Output(display_name="plot", tooltip="Requested and measured, with the spread of pictures."),
                io.String.Output(display_name="summary", tooltip="What can be reached, metric by metric."),
            ],
            is_output_node=True,
        )

    @classmethod
    def execute(
        cls,
        iqa_adapter: Adapter,
        model: ModelPatcher,
        strength: float,
        iqa_scores: Scores | None = None,
        requested: str = "",
        requested_are: str = QUALITY,
        note: str = "",
    ) -> io.NodeOutput:
        metrics, moved = [metric.name for metric in adapter_metrics(iqa_adapter)], requested_are.strip()
        if moved not in (QUALITY, AESTHETICS, *metrics):
            problem = unknown_metric(moved, [QUALITY, AESTHETICS, *metrics], catalogue.names())
            raise ValueError(f"requested_are: {problem}")
        path, base = calibration_path(iqa_adapter), model_digest(model)
        if iqa_scores is None:
            if requested.strip():
                raise ValueError("There are requested percentiles, but no scores; connect iqa_scores, or empty it.")
            calibration = find_calibration(path, iqa_adapter.digest, base, strength, moved)
            kept = f"from {shown(path.name)}"
        else:
            name = family(sites(model.get_model_object("diffusion_model")))
            responses = _responses(iqa_scores, requested)
            calibration = Calibration(
                iqa_adapter.digest, base, name, strength, moved, responses, " ".join(note.split())
            )
            kept = _kept(path, calibration)
        summary = "\n".join([*map(_summary, calibration.responses), kept])
        plot = plot_calibration(calibration)
        shown_text = {**ui.PreviewImage(plot, cls=cls).as_dict(), "text": [summary]}
        return io.NodeOutput(calibration, str(path), plot, summary, ui=shown_text)


def _responses(scores: Scores, requested: str) -> tuple:
    asked = checked_percentiles(per_picture(requested, len(scores)).tolist(), requested, "requested")
    return tuple(fitted(asked, scores.column(name)[1].tolist(), name, scores.resize) for name in scores.metrics)


def _summary(response) -> str:
    low, high = response.reach
    return f"{response.metric}: {low:.3g} to {high:.3g} can be reached, by {response.pictures} pictures"


def _kept(path, calibration: Calibration) -> str:
    """Keep it, and say where; a folder that cannot be written to is no reason to lose the sampling."""
    try:
        keep_calibration(path, calibration)
    except (OSError, ValueError) as error:
        logging.warning("The calibration is not kept: %s", error)
        return f"not kept: {error}"
    return f"kept in {shown(path)}"
