"""Sampling inside one node: many noises are tried, and the best pictures kept."""

from __future__ import annotations

import comfy.utils
from comfy_api.latest import io, ui

from ..guidance import report
from ..guidance.guiders import guider_of
from ..guidance.halving import FIRST
from ..guidance.judge import Judge
from ..guidance.latents import fitting
from ..guidance.runs import Sampling
from ..guidance.search import METHODS, Settings, search
from ..iqa_models import catalogue
from ..quality.resize import AS_IS, RESIZES
from ..quality.statistics import cc3m_statistics
from ..quality.thresholds import parse_thresholds
from .schema import (
    IQAModelType,
    IQAScoresType,
    advanced,
    further_metrics,
    metric_weights,
    resize_input,
    schema,
)

ONE_BY_ONE, TOGETHER = "one by one", "as one"
LARGEST_SEED = 2**64 - 1


class IQASearch(io.ComfyNode):
    """MODEL or GUIDER, SAMPLER, SIGMAS, LATENT, VAE, IQA_MODELs -> the best LATENTs and IMAGEs."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="IQASearch",
            display_name="Search Best Pictures",
            search_aliases=[
                "seed search",
                "best seed",
                "try many seeds",
                "inference-time scaling",
                "successive halving",
            ],
            description="Samples a picture with many seeds inside one node, judges them with IQA models, and keeps the "
            "best. Works with every model and needs no adapter. Shows the best so far; a cancelled search gives it.",
            inputs=[
                IQAModelType.Input("iqa_model", tooltip="The metric that decides, from Load IQA Model."),
                io.Sampler.Input("sampler", tooltip="From KSamplerSelect."),
                io.Sigmas.Input("sigmas", tooltip="From BasicScheduler or another one."),
                io.Latent.Input(
                    "latent_image",
                    tooltip="Empty latent, or a picture for image-to-image, with a mask or without. Each one of a "
                    "batch is searched for by itself, with the whole budget.",
                ),
                io.Vae.Input("vae", tooltip="Decodes the pictures for the metric."),
                io.Combo.Input(
                    "method",
                    options=list(METHODS),
                    tooltip="best of N: every seed is sampled to the end. successive halving: about twice as many "
                    "seeds begin, and the worse half is given up at several steps, by the picture that is predicted "
                    "there. It helps where that tells early what is judged (composition); measured on the quickstart, "
                    "where sharpness and noise show late, it was no better than best of N. local search: around the "
                    "noise of the best picture for a better one.",
                ),
                io.Int.Input(
                    "budget",
                    default=8,
                    min=2,
                    max=4096,
                    tooltip="Computation for each picture of the latent, 2 to 4096 samplings: 8 takes as long as 8 "
                    "pictures of a KSampler.",
                ),
                io.Int.Input("keep", default=1, min=1, max=256, tooltip="How many of the best to keep, 1 to 256."),
                io.Model.Input("model", optional=True, tooltip="The diffusion model; not with a guider."),
                io.Conditioning.Input("positive", optional=True, tooltip="The prompt; not with a guider."),
                io.Conditioning.Input(
                    "negative", optional=True, tooltip="The negative prompt; not needed at cfg 1, not with a guider."
                ),
                io.Guider.Input(
                    "guider", optional=True, tooltip="In place of model and conditionings, from CFGGuider or another."
                ),
                *further_metrics("iqa_model", "A further metric."),
                IQAModelType.Input(
                    "check_with",
                    optional=True,
                    tooltip="A metric that is measured, but not searched for. Where it falls while the others rise, "
                    "the node says so.",
                ),
                io.Float.Input(
                    "cfg",
                    default=5.0,
                    min=0.0,
                    max=100.0,
                    step=0.1,
                    round=0.01,
                    optional=True,
                    tooltip="Guidance towards the prompt, 0 to 100; 1 does without a negative prompt. Not used with a "
                    "guider.",
                ),
                io.String.Input(
                    "thresholds",
                    default="",
                    optional=True,
                    placeholder="topiq_nr=0.6, laion_aes=p80",
                    tooltip="Scores that are good enough: raw (0.6), better than so many % (p80) or z-score (+1z). "
                    "Best of N and local search end as soon as enough pictures reach them all. Empty for none.",
                ),
                resize_input(
                    "How the pictures are scaled for the metrics. as is: not at all. 512: to 512x512 pixels. 64: the "
                    "size of the quickstart.",
                    RESIZES,
                    AS_IS,
                ),
                *metric_weights(
                    -10.0,
                    "Weight of {metric}, -10 to 10. Scores are compared in standard deviations; below 0 looks for "
                    "worse, 0 measures only.",
                ),
                advanced(
                    io.Float.Input(
                        "first_look",
                        default=FIRST,
                        min=0.05,
                        max=0.95,
                        step=0.05,
                        optional=True,
                        tooltip="Successive halving: part of the steps before the first judgement, 0.05 to 0.95. "
                        "Composition and colours show early; sharpness and noise only late. Of 0.25, 0.35, 0.5 and "
                        "0.65 the last kept the best pictures of the quickstart.",
                    )
                ),
                advanced(
                    io.Float.Input(
                        "radius",
                        default=0.4,
                        min=0.01,
                        max=1.0,
                        step=0.01,
                        optional=True,
                        tooltip="Local search: how much new noise a neighbour gets, 0.01 to 1; 1 is another seed.",
                    )
                ),
                advanced(
                    io.Int.Input(
                        "neighbours",
                        default=4,
                        min=1,
                        max=256,
                        optional=True,
                        tooltip="Local search: neighbours of the best noise in a round, 1 to 256.",
                    )
                ),
                advanced(
                    io.Float.Input(
                        "frequencies",
                        default=1.0,
                        min=0.02,
                        max=1.0,
                        step=0.01,
                        optional=True,
                        tooltip="Local search: lowest part of the noise's frequencies that it changes, 0.02 to 1. A "
                        "low part moves composition and colours and leaves the details; 1 changes all.",
                    )
                ),
                advanced(
                    io.Int.Input(
                        "batch_size",
                        default=1,
                        min=1,
                        max=256,
                        optional=True,
                        tooltip="Pictures sampled at once, 1 to 256. 1 makes each bit-equal to a sampling of its own; "
                        "more is faster where the device has room.",
                    )
                ),
                advanced(
                    io.Combo.Input(
                        "batch",
                        options=[ONE_BY_ONE, TOGETHER],
                        default=ONE_BY_ONE,
                        optional=True,
                        tooltip="What a latent of several pictures is. one by one: each is searched for by itself. as "
                        "one: they are the frames of an animation, judged by their mean.",
                    )
                ),
                # Without a control in every version: it would stand before the optional widgets, whose values a graph
                # would lose between a version that has controls and one that has none
                io.Int.Input(
                    "seed",
                    default=0,
                    min=0,
                    max=LARGEST_SEED,
                    control_after_generate=False,
                    tooltip="Of the first noise; the others follow one by one.",
                ),
            ],
            outputs=[
                io.Latent.Output(tooltip="The best, best first; of several latents one after the other."),
                io.Image.Output(tooltip="The same, decoded."),
                IQAScoresType.Output(display_name="iqa_scores", tooltip="Their scores, with those of check_with."),
                io.Noise.Output(
                    display_name="noise",
                    tooltip="Draws the best again: SamplerCustomAdvanced with the same guider, sampler, sigmas and "
                    "latent_image.",
                ),
                io.String.Output(
                    display_name="seeds",
                    tooltip="A line per picture: its seed, and what local search has mixed into that noise.",
                ),
                io.Image.Output(display_name="plot", tooltip="The best so far by evaluations of the model."),
                io.String.Output(display_name="summary", tooltip="What was tried and found, with a warning if any."),
            ],
            is_output_node=True,
        )

    @classmethod
    def execute(
        cls, iqa_model, sampler, sigmas, latent_image, vae, method: str, budget: int, keep: int, seed: int,
        model=None, positive=None, negative=None, guider=None, iqa_model_2=None, iqa_model_3=None, iqa_model_4=None,
        check_with=None, cfg: float = 5.0, thresholds: str = "", protocol: str = AS_IS, weight: float = 1.0,
        weight_2: float = 1.0, weight_3: float = 1.0, weight_4: float = 1.0, first_look: float = FIRST,
        radius: float = 0.4, neighbours: int = 4, frequencies: float = 1.0, batch_size: int = 1,
        batch: str = ONE_BY_ONE,
    ) -> io.NodeOutput:  # fmt: skip
        connected = (iqa_model, weight), (iqa_model_2, weight_2), (iqa_model_3, weight_3), (iqa_model_4, weight_4)
        models, weights = zip(*(pair for pair in connected if pair[0] is not None), strict=True)
        judge = Judge(models, weights, check_with, protocol)
        known = {name: each for name, each in cc3m_statistics().items() if each.resize == protocol}
        judge = judge.with_thresholds(parse_thresholds(thresholds, judge.metrics, known, protocol, catalogue.names()))
        settings = Settings(
            method,
            budget,
            keep,
            seed,
            bool(judge.thresholds),
            radius,
            neighbours,
            frequencies,
            batch == TOGETHER,
            first_look,
        )
        guide = guider_of(model, positive, negative, cfg, guider)
        sampling = Sampling(guide, sampler, sigmas, fitting(guide.model_patcher, latent_image), batch_size)
        found = search(sampling, vae, judge, settings, comfy.utils.ProgressBar(budget))
        summary = report.summary(found, settings)
        shown = ui.PreviewImage(found.images, cls=cls).as_dict() | {"text": [summary]}
        return io.NodeOutput(
            found.latent, found.images, found.scores, found.noise, report.seeds(found), report.plot(found, settings),
            summary, ui=shown,
        )  # fmt: skip
