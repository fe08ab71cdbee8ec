"""Quality over the frames of a batch."""

from __future__ import annotations

import logging

import torch
from comfy_api.latest import io

from ..adapter.adapter import Adapter
from ..adapter.tokens import QualityTokens, embed_quality
from ..quality.schedule import BETWEEN, keyframes, last_frame, over_frames
from ..quality.sweep import AESTHETICS, QUALITY, moved_by
from ..quality.targets import sliders
from .conditioning import adapter_metrics
from .schema import IQAAdapterType, IQAEmbedsType, advanced, schema

MEDIAN = "0: 50"


class IQAQualitySchedule(io.ComfyNode):
    """IQA_ADAPTER + keyframes -> IQA_EMBEDS, one per frame."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="IQAQualitySchedule",
            display_name="Quality Schedule",
            category="conditioning",
            search_aliases=["keyframes", "animate quality", "quality over time", "video quality", "AnimateDiff"],
            description="Lets quality change over the frames of a batch, from keyframe to keyframe: for AnimateDiff, "
            "for batches of pictures, and for slow transitions from bad to good.",
            inputs=[
                IQAAdapterType.Input("iqa_adapter", tooltip="A score-based IQA-Adapter."),
                io.String.Input(
                    "keyframes",
                    default="0: 1, 16: 99",
                    multiline=True,
                    tooltip="Quality by frame, as frame: percentile, separated by commas; frames count from 0, "
                    "percentiles go from 0 to 100. Before the first and after the last keyframe its value holds.",
                ),
                io.Int.Input(
                    "frames",
                    default=0,
                    min=0,
                    max=4096,
                    tooltip="Frames in all, 1 to 4096; 0 for as many as the latent has, or up to the last keyframe.",
                ),
                io.Combo.Input(
                    "between",
                    options=list(BETWEEN),
                    tooltip="Between two keyframes: linear in percentiles, smooth (slow at both ends), or hold (the "
                    "value stays until the next one).",
                ),
                io.Latent.Input(
                    "latent", optional=True, tooltip="The batch of frames that will be sampled, to count them."
                ),
                advanced(
                    io.String.Input(
                        "aesthetics",
                        default="",
                        optional=True,
                        placeholder=MEDIAN,
                        tooltip="Aesthetics by frame, written in the same way; empty for 50 everywhere.",
                    )
                ),
                advanced(
                    io.String.Input(
                        "strength",
                        default="",
                        optional=True,
                        placeholder="0: 0, 8: 1",
                        tooltip="Factors of the strength by frame, -10 to 10, written in the same way; empty for 1 "
                        "everywhere.",
                    )
                ),
            ],
            outputs=[
                IQAEmbedsType.Output(display_name="iqa_embeds", tooltip="For Apply IQA-Adapter; one per frame."),
                io.Int.Output(display_name="frames", tooltip="Frames in all, for the batch size of the latent."),
                io.String.Output(display_name="requested", tooltip="Quality percentiles, one per frame."),
                io.String.Output(display_name="labels", tooltip="A line per frame, for Labelled Grid."),
            ],
        )

    @classmethod
    def execute(
        cls,
        iqa_adapter: Adapter,
        keyframes: str,
        frames: int,
        between: str,
        latent: dict | None = None,
        aesthetics: str = "",
        strength: str = "",
    ) -> io.NodeOutput:
        metrics = adapter_metrics(iqa_adapter)
        asked, appeal, factors = _schedules(keyframes, aesthetics, strength)
        for text, what in ((keyframes, QUALITY), (aesthetics, AESTHETICS)):
            if text.strip() and not moved_by(what, metrics):
                raise ValueError(f"{iqa_adapter.name} has no metric of {what}, so a schedule of it would do nothing.")
        count = _count(frames, latent, last_frame(asked, appeal, factors))
        _warn_of_unreached({"keyframes": asked, "aesthetics": appeal, "strength": factors}, count)
        levels, appeals = over_frames(asked, count, between), over_frames(appeal, count, between)
        requests = [torch.tensor([sliders(metrics, *each)]) for each in zip(levels, appeals, strict=True)]
        rows = [embed_quality(iqa_adapter, request) for request in requests]
        tokens = QualityTokens(
            iqa_adapter,
            torch.cat([row.cond for row in rows]),
            torch.cat([row.uncond for row in rows]),
            tuple(over_frames(factors, count, between)) if strength.strip() else None,
        )
        labels = "\n".join(f"frame {number}: quality {level:.3g} %" for number, level in enumerate(levels))
        return io.NodeOutput(tokens, count, ", ".join(f"{level:.5g}" for level in levels), labels)


def _schedules(quality: str, aesthetics: str, strength: str) -> tuple[dict[int, float], ...]:
    if not (quality.strip() or aesthetics.strip() or strength.strip()):
        raise ValueError("There are no keyframes; write frame: percentile, for example 0: 1, 16: 99.")
    return (
        keyframes(quality.strip() or MEDIAN, "keyframes", 0, 100),
        keyframes(aesthetics.strip() or MEDIAN, AESTHETICS, 0, 100),
        keyframes(strength.strip() or "0: 1", "strength", -10, 10),
    )


def _warn_of_unreached(schedules: dict[str, dict[int, float]], frames: int) -> None:
    for name, keys in schedules.items():
        if beyond := [str(frame) for frame in keys if frame >= frames]:
            logging.warning(
                "%s: frame %s lies beyond the last frame, which is %d, and is not reached.",
                name, ", ".join(beyond), frames - 1,
            )  # fmt: skip


def _count(frames: int, latent: dict | None, last: int) -> int:
    """Frames in all.

    Raises:
        ValueError: the latent has another number, or is one video in which frames cannot have qualities of their own.
    """
    if latent is None:
        return frames or last + 1
    samples = latent["samples"]
    if samples.ndim == 5 and samples.shape[2] > 1:
        raise ValueError(
            "The latent is one video, whose frames are drawn together; a schedule needs a batch of frames, as "
            "AnimateDiff has it."
        )
    if frames and frames != len(samples):
        raise ValueError(f"frames says {frames}, but the latent has {len(samples)}; set frames to 0.")
    return len(samples)
