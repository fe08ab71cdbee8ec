"""One real forward or sampling run of ComfyUI, observed at the UNet."""

from __future__ import annotations

from dataclasses import dataclass, field

import comfy.sample
import comfy.samplers
import torch
from comfy.patcher_extension import WrappersMP


@dataclass
class Observed:
    """Inputs and outputs of every call of the UNet, in order."""

    inputs: list[dict] = field(default_factory=list)
    outputs: list[torch.Tensor] = field(default_factory=list)

    def wrap(self, executor, x, timesteps, context, y, control, transformer_options, **kwargs):
        out = executor(x, timesteps, context, y, control, transformer_options, **kwargs)
        self.inputs.append({"x": x, "timesteps": timesteps, "context": context, "y": y, "options": transformer_options})
        self.outputs.append(out)
        return out


def observe(model):
    """A clone of ``model`` and the record of its UNet calls."""
    model, record = model.clone(), Observed()
    model.add_wrapper_with_key(WrappersMP.DIFFUSION_MODEL, "observer", record.wrap)
    return model, record


def once(model, x, sigma=None, extra_args=None, **_):
    return model(x, sigma[:1] * x.new_ones(len(x)), **(extra_args or {}))


def denoise_once(guider, noise: torch.Tensor, sigma: float = 3.0, latent: torch.Tensor | None = None) -> torch.Tensor:
    """One denoised prediction of a guider at ``sigma``, through ComfyUI's whole sampling path."""
    sampler = comfy.samplers.KSAMPLER(lambda model, x, sigmas, extra_args, **_: once(model, x, sigmas, extra_args))
    latent = torch.zeros_like(noise) if latent is None else latent
    with torch.no_grad():
        return guider.sample(noise, latent, sampler, torch.tensor([sigma, 0.0]), disable_pbar=True, seed=0)


def cfg_guider(model, positive, negative, cfg: float = 4.0):
    guider = comfy.samplers.CFGGuider(model)
    guider.set_conds(positive, negative)
    guider.set_cfg(cfg)
    return guider


def unet_rows(guider_class_args, noise, **kwargs):
    """Rows of the UNet's outputs of one prediction, concatenated in the order of the calls."""
    model, make_guider = guider_class_args
    model, record = observe(model)
    denoise_once(make_guider(model), noise, **kwargs)
    return torch.cat(record.outputs), record
