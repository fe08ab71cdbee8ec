"""The prediction of every step is moved up the gradient of an IQA model's score.

The gradient-based baseline of Abud et al., *IQA-Adapter* (arXiv 2412.01794):
``x0 <- x0 + scale * step(sigma) g / rms(g)``, with ``g`` the gradient of ``score(decode(x0))`` by ``x0``. Normalising
by the root mean square makes the scale mean the same for every metric; ``step(sigma) = 0.1 sigma / sqrt(sigma² + 1)``
lets it fade with the noise, since what is added at the end of sampling cannot be made into a picture any more and
stays as an adversarial pattern.
"""

from __future__ import annotations

from dataclasses import dataclass

import comfy.model_management
import torch
from comfy.model_patcher import ModelPatcher
from comfy.sd import VAE
from torch import Tensor

from ..adapter.sampling_range import in_range
from ..inference_mode import leave_inference_mode
from ..iqa_models.loading import IQAModel

KEY = "iqa_gradient_guidance"  # of the models that ComfyUI loads beside the diffusion model
STEP = 0.1  # of the latent's standard deviation at high noise, for a scale of 1


def apply_gradient_guidance(
    model: ModelPatcher,
    vae: VAE,
    iqa_model: IQAModel,
    scale: float,
    start_percent: float = 0.0,
    end_percent: float = 1.0,
    every: int = 1,
    maximise: bool = True,
) -> ModelPatcher:
    """A clone of the model whose sampling is guided.

    Args:
        model: any diffusion model of single pictures.
        vae: its VAE.
        iqa_model: a metric with a gradient.
        scale: size of the steps; 0 returns an unguided clone.
        start_percent, end_percent: part of the sampling, 0…1, both ends included.
        every: guides every n-th step of the range, beginning with the first step of all.
        maximise: quality, in the metric's own direction; False minimises it.

    Raises:
        ValueError: the metric has no gradient, or the range is empty.
    """
    if start_percent >= end_percent:
        raise ValueError(f"start_percent {start_percent:g} must lie below end_percent {end_percent:g}.")
    check_differentiable(iqa_model)
    guided = model.clone()
    if scale == 0:
        return guided
    direction = 1 if maximise == iqa_model.entry.higher_is_better else -1
    guidance = GradientGuidance(
        vae=vae,
        iqa_model=iqa_model,
        scale=direction * scale,
        start_percent=start_percent,
        end_percent=end_percent,
        every=every,
    )
    before = guided.get_additional_models_with_key(KEY)  # of another guidance node
    guided.set_additional_models(KEY, [*before, vae.patcher, iqa_model.patcher])
    guided.set_model_sampler_post_cfg_function(guidance)
    return guided


@dataclass(frozen=True)
class GradientGuidance:
    """What ComfyUI calls with every denoised prediction."""

    vae: VAE
    iqa_model: IQAModel
    scale: float
    start_percent: float
    end_percent: float
    every: int

    def __call__(self, arguments: dict) -> Tensor:
        denoised = arguments["denoised"]
        sigma = float(arguments["sigma"].max())  # the one synchronisation per step
        schedule = arguments["model"].model_sampling.percent_to_sigma
        inside = in_range(sigma, self.start_percent, self.end_percent, schedule)
        if not (inside and self._is_due(sigma, arguments["model_options"])):
            return denoised
        gradient = self.gradient(denoised, arguments["model"].process_latent_out)
        rms = gradient.square().flatten(1).mean(1).sqrt().clamp_min(1e-12).view(-1, *[1] * (gradient.ndim - 1))
        return denoised + self.scale * STEP * sigma / (sigma**2 + 1) ** 0.5 * gradient / rms

    def gradient(self, denoised: Tensor, latent_out) -> Tensor:
        """Of each picture's score by its own latent, ``[N, C, h, w]``; picture by picture, to bound memory."""
        for patcher in (self.vae.patcher, self.iqa_model.patcher):
            patcher.model.requires_grad_(False)
        with torch.inference_mode(False), torch.enable_grad():
            for patcher in (self.vae.patcher, self.iqa_model.patcher):
                leave_inference_mode(patcher.model)
            return torch.cat([self._gradient(latent.clone(), latent_out) for latent in denoised.split(1)])

    def _gradient(self, latent: Tensor, latent_out) -> Tensor:
        comfy.model_management.throw_exception_if_processing_interrupted()
        latent.requires_grad_(True)
        coded = latent_out(latent).to(self.vae.device, self.vae.vae_dtype)
        pixels = self.vae.process_output(self.vae.first_stage_model.decode(coded).float())
        if pixels.ndim != 4:
            raise ValueError("IQA Gradient Guidance works on single pictures; this VAE decodes videos.")
        score = self.iqa_model.patcher.model(pixels.clamp(0, 1).to(self.iqa_model.patcher.load_device))
        (gradient,) = torch.autograd.grad(score.sum(), latent)
        return gradient.nan_to_num()

    def _is_due(self, sigma: float, options: dict) -> bool:
        """Whether this is an n-th step; steps between the schedule's own count with the one before them."""
        schedule = options.get("transformer_options", {}).get("sample_sigmas")
        if self.every == 1 or schedule is None:
            return True
        begun = int((schedule >= sigma * (1 - 1e-5)).sum())
        return (begun - 1) % self.every == 0


def check_differentiable(iqa_model: IQAModel) -> None:
    """Refuse metrics through which no gradient comes.

    Raises:
        ValueError: with what to use instead.
    """
    patcher, side = iqa_model.patcher, max(64, iqa_model.entry.minimum_side)
    comfy.model_management.load_models_gpu([patcher])
    with torch.inference_mode(False), torch.enable_grad():
        leave_inference_mode(patcher.model)
        probe = torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(0))
        probe = probe.to(patcher.load_device).requires_grad_(True)
        score = patcher.model(probe)
        reached = score.requires_grad and torch.autograd.grad(score.sum(), probe, allow_unused=True)[0]
    if reached is False or reached is None or not bool(reached.abs().sum() > 0):
        raise ValueError(
            f"{iqa_model.entry.name} has no gradient that could guide; load a learned metric such as topiq_nr, cnniqa "
            "or quickstart_iqa."
        )
