"""The prediction of every step is moved up the gradient of IQA models' scores.

The gradient-based baseline of Abud et al., *IQA-Adapter* (arXiv 2412.01794):
``x0 <- x0 + scale step(sigma) g / rms(g)`` with ``g`` the gradient of ``score(decode(x0))``, by x0 itself or, through
the model, by the noisy latent that x0 is predicted from. Normalising by the root mean square makes the scale mean the
same for every metric; ``step(sigma) = 0.1 sigma / sqrt(sigma² + 1)`` lets it fade with the noise, since what is added
at the end of sampling cannot be made into a picture any more and stays as an adversarial pattern.

Near the best score a move of fixed length goes too far. So every moved prediction is scored again, and as long as its
score is worse than before the move is halved, :data:`HALVINGS` times at most; then it is left out.

Several nodes in a row add up: all of one route look at the same prediction, whatever their order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import comfy.model_management
import comfy.utils
import torch
from comfy.model_patcher import ModelPatcher
from comfy.patcher_extension import WrappersMP
from comfy.sd import VAE
from torch import Tensor

from ..adapter.sampling_range import in_range
from ..iqa_models.loading import IQAModel
from .aims import Aim, check_differentiable, measured, slope
from .decoding import Decoding, LatentOut
from .record import Record, Step
from .through_model import differentiable, out_of_inference, prediction_with_gradient

KEY = "iqa_gradient_guidance"  # of the models that ComfyUI loads beside the diffusion model, and of wrappers
STEP = 0.1  # of the latent's standard deviation at high noise, for a scale of 1
HALVINGS = 4  # of a move that went too far


@dataclass(frozen=True)
class Before:
    """Of a predicted picture that is about to be moved.

    Attributes:
        scores: raw, by metric.
        slopes: :func:`.aims.slope` of each metric that guides.
    """

    scores: dict[str, float]
    slopes: tuple[float, ...]


@dataclass(frozen=True, eq=False)
class Guidance:
    """What one guidance node asks for.

    Attributes:
        aims: one to four metrics.
        decoding: with the VAE.
        scale: size of the moves, above 0.
        start_percent, end_percent: part of the sampling, 0…1, both ends included.
        every: guides every n-th step of the range, beginning with the first step of all.
        mask: ``[N, H, W]`` in 0…1 where it acts; None for everywhere.
        through_model: the gradient is by the noisy latent, through the diffusion model.
        checkpointing: of that model: less memory, one more forward.
        check: a metric that is measured, but does not guide; None for none.
        record: what it did.
    """

    aims: tuple[Aim, ...]
    decoding: Decoding
    scale: float
    record: Record
    start_percent: float = 0.0
    end_percent: float = 1.0
    every: int = 1
    mask: Tensor | None = None
    through_model: bool = False
    checkpointing: bool = False
    check: IQAModel | None = None

    def acts(self, sigma: float, percent_to_sigma: Callable[[float], float], options: dict) -> bool:
        """Whether it guides the step of a noise level."""
        inside = in_range(sigma, self.start_percent, self.end_percent, percent_to_sigma)
        return inside and self._is_due(sigma, options)

    @property
    def patchers(self) -> list[ModelPatcher]:
        """Of everything that it needs on the device."""
        models = [aim.iqa_model for aim in self.aims] + ([self.check] if self.check is not None else [])
        return [self.decoding.vae.patcher, *(model.patcher for model in models)]

    def move(
        self,
        denoised: Tensor,
        sigma: float,
        latent_out: LatentOut,
        back: Callable[[Tensor], Tensor] | None = None,
    ) -> Tensor:
        """What is added to the prediction ``[N, C, h, w]``; picture by picture, to bound memory.

        Args:
            denoised: the prediction, without a graph.
            sigma: noise level.
            latent_out: of the model.
            back: carries a gradient by the prediction back through the model, both ``[N, C, h, w]``.
        """
        size = self.scale * STEP * sigma / (sigma**2 + 1) ** 0.5
        mask = None if self.mask is None else comfy.utils.reshape_mask(self.mask, denoised.shape).to(denoised)
        measured_before, moves = [], []
        for number, latent in enumerate(denoised.split(1)):
            comfy.model_management.throw_exception_if_processing_interrupted()
            before, move = self._aimed(latent, latent_out, size, None if mask is None else mask[number : number + 1])
            measured_before.append(before)
            moves.append(move)
        moved = torch.cat(moves)
        if back is not None:
            moved = _of_size(back(moved), moved, mask)
        moves = []
        for number, (before, latent, move) in enumerate(
            zip(measured_before, denoised.split(1), moved.split(1), strict=True)
        ):
            move, after = self._not_too_far(latent, latent_out, before, move)
            moves.append(move)
            self.record.steps.append(Step(sigma, number, before.scores, after))
        return torch.cat(moves)

    def _aimed(self, latent: Tensor, latent_out: LatentOut, size: float, mask: Tensor | None) -> tuple[Before, Tensor]:
        """What is known of a predicted picture ``[1, C, h, w]``, and the move that all metrics together ask for."""
        scores: dict[str, float] = {}

        def by_pixels(pixels: Tensor) -> list[Tensor]:
            gradients = []
            for aim in self.aims:
                scores[aim.name], gradient = aim.gradient(pixels)
                gradients.append(gradient.to(pixels))
            if self.check is not None:
                scores[self.check.entry.name] = measured(self.check, pixels)
            return gradients

        gradients = [each.nan_to_num() for each in self.decoding.gradients(latent, latent_out, by_pixels)]
        weights = sum(aim.weight for aim in self.aims)
        moves = [
            aim.weight / weights * aim.pull(scores[aim.name], gradient, mask, size)
            for aim, gradient in zip(self.aims, gradients, strict=True)
        ]
        return Before(scores, tuple(slope(each, mask).item() for each in gradients)), sum(moves)

    def _not_too_far(
        self, latent: Tensor, latent_out: LatentOut, before: Before, move: Tensor
    ) -> tuple[Tensor, dict[str, float]]:
        """The move of one picture, halved until the scores together are nearer to what is wanted, and scores after."""
        for _ in range(HALVINGS + 1):
            pixels = self.decoding.pixels(latent + move, latent_out)
            after = {aim.name: measured(aim.iqa_model, pixels) for aim in self.aims}
            gains = [
                aim.weight * aim.gain(before.scores[aim.name], after[aim.name]) / unit
                for aim, unit in zip(self.aims, before.slopes, strict=True)
            ]
            if sum(gains) >= 0:
                if self.check is not None:
                    after[self.check.entry.name] = measured(self.check, pixels)
                return move, after
            move = move / 2
        return torch.zeros_like(move), before.scores

    def _is_due(self, sigma: float, options: dict) -> bool:
        """Whether this is an n-th step; steps between the schedule's own count with the one before them."""
        schedule = options.get("transformer_options", {}).get("sample_sigmas")
        if self.every == 1 or schedule is None:
            return True
        begun = int((schedule >= sigma * (1 - 1e-5)).sum())
        return (begun - 1) % self.every == 0


def apply_guidance(model: ModelPatcher, guidance: Guidance) -> ModelPatcher:
    """A clone of the model whose sampling is guided, in addition to whatever guides it already.

    Raises:
        ValueError: a metric has no gradient, the range is empty, or the mask is.
    """
    if guidance.start_percent >= guidance.end_percent:
        raise ValueError(
            f"start_percent {guidance.start_percent:g} must lie below end_percent {guidance.end_percent:g}."
        )
    if guidance.mask is not None and not bool(guidance.mask.any()):
        raise ValueError("The mask is empty, so that guidance would act nowhere; draw one, or disconnect it.")
    names = [aim.name for aim in guidance.aims]
    if not names:
        raise ValueError("All weights are 0, so that nothing would guide; set one to 1, or scale to 0.")
    if repeated := [name for name in names if names.count(name) > 1]:
        raise ValueError(f"{repeated[0]} is connected twice; connect different metrics, and give one more weight.")
    if guidance.check is not None and guidance.check.entry.name in names:
        raise ValueError(
            f"check with is {guidance.check.entry.name}, which guides, so that it could not tell anything; connect "
            "another metric."
        )
    check_differentiable([aim.iqa_model for aim in guidance.aims])
    guided = model.clone()
    if guidance.scale == 0:
        return guided
    before = guided.get_additional_models_with_key(KEY)  # of another guidance node
    guided.set_additional_models(KEY, [*before, *guidance.patchers])
    if guidance.through_model:
        kept = guided.get_wrappers(WrappersMP.PREDICT_NOISE, KEY)
        together = ThroughModel((*(part for each in kept for part in each.parts), guidance))
        guided.remove_wrappers_with_key(WrappersMP.PREDICT_NOISE, KEY)
        guided.add_wrapper_with_key(WrappersMP.PREDICT_NOISE, KEY, together)
    else:
        functions = guided.model_options.get("sampler_post_cfg_function", [])
        kept = [each for each in functions if isinstance(each, OfPrediction)]
        together = OfPrediction((*(part for each in kept for part in each.parts), guidance))
        others = [each for each in functions if each not in kept]
        guided.model_options["sampler_post_cfg_function"] = [*others, together]
    guided.add_wrapper_with_key(WrappersMP.OUTER_SAMPLE, KEY, guidance.record.sampled)
    return guided


def apply_gradient_guidance(
    model: ModelPatcher, vae: VAE, iqa_model: IQAModel, scale: float, maximise: bool = True, **options
) -> ModelPatcher:
    """A clone of the model that one metric guides to better pictures, or to worse ones.

    Args:
        vae: of single pictures.
        scale: size of the moves; 0 returns an unguided clone.
        options: of :class:`Guidance`.
    """
    upwards = maximise == iqa_model.entry.higher_is_better
    aims = (Aim(iqa_model, 1.0, upwards),)
    return apply_guidance(model, Guidance(aims, Decoding(vae), scale, Record.of(aims, None), **options))


@dataclass(frozen=True, eq=False)
class OfPrediction:
    """What ComfyUI calls with every denoised prediction: adds the moves of all nodes of the cheap route."""

    parts: tuple[Guidance, ...]

    def __call__(self, arguments: dict) -> Tensor:
        denoised, model = arguments["denoised"], arguments["model"]
        sigma = float(arguments["sigma"].max())  # the one synchronisation per step
        acting = _acting(self.parts, sigma, model, arguments["model_options"])
        if not acting:
            return denoised
        with out_of_inference(*(patcher.model for part in acting for patcher in part.patchers)):
            apart = denoised.detach().clone()
            moves = [part.move(apart, sigma, model.process_latent_out) for part in acting]
        return denoised + sum(moves)


@dataclass(frozen=True, eq=False)
class ThroughModel:
    """Wrapper of a guider's prediction: adds the moves of all nodes whose gradient goes through the model."""

    parts: tuple[Guidance, ...]

    def __call__(self, executor: Callable, x: Tensor, timestep: Tensor, model_options: dict, seed=None) -> Tensor:
        guider, sigma = executor.class_obj, float(timestep.max())
        acting = _acting(self.parts, sigma, guider.inner_model, model_options)
        if not acting:
            return executor(x, timestep, model_options, seed)
        patchers = [patcher for part in acting for patcher in part.patchers]
        modules = [guider.inner_model, *(each.model for each in (*patchers, *guider.loaded_models))]
        checkpointing = any(part.checkpointing for part in acting)
        with out_of_inference(*modules), prediction_with_gradient(guider.inner_model, model_options, checkpointing):
            noisy = x.detach().clone().requires_grad_(True)
            denoised = executor(noisy, timestep.clone(), differentiable(model_options), seed)

            def back(gradient: Tensor) -> Tensor:
                return torch.autograd.grad(denoised, noisy, gradient, retain_graph=True)[0].nan_to_num()

            apart, latent_out = denoised.detach(), guider.inner_model.process_latent_out
            moves = [part.move(apart, sigma, latent_out, back) for part in acting]
        return apart + sum(moves)


def _acting(parts: Sequence[Guidance], sigma: float, model, options: dict) -> list[Guidance]:
    return [part for part in parts if part.acts(sigma, model.model_sampling.percent_to_sigma, options)]


def _of_size(move: Tensor, like: Tensor, mask: Tensor | None) -> Tensor:
    """A move ``[N, C, h, w]`` within the mask, with the length of another, picture by picture."""
    within = move if mask is None else move * mask
    lengths = [each.flatten(1).norm(dim=1).view(-1, *[1] * (move.ndim - 1)) for each in (like, within)]
    return within * lengths[0] / lengths[1].clamp_min(1e-12)
