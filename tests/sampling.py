"""One real forward or sampling run of ComfyUI, observed at the UNet."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import comfy.samplers
import torch
from comfy.patcher_extension import WrappersMP
from torch.utils._python_dispatch import TorchDispatchMode


@dataclass
class Observed:
    """Inputs and outputs of every call of the UNet, in order."""

    inputs: list[dict] = field(default_factory=list)
    outputs: list[torch.Tensor] = field(default_factory=list)

    def wrap(self, executor, x, timesteps, context, y, control, transformer_options, **kwargs):
        kept = None if control is None else {key: list(value) for key, value in control.items()}
        out = executor(x, timesteps, context, y, control, transformer_options, **kwargs)
        call = {"x": x, "timesteps": timesteps, "context": context, "y": y, "control": kept}
        self.inputs.append({**call, "options": transformer_options})
        self.outputs.append(out)
        return out


class Operators(TorchDispatchMode):
    """Counts what a device would have to do: every operator that is not a view."""

    def __init__(self):
        super().__init__()
        self.counts = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        views = [part.alias_info is not None and not part.alias_info.is_write for part in func._schema.returns]
        if not any(views):
            self.counts[str(func).rsplit(".", 1)[0]] += 1
        return func(*args, **(kwargs or {}))


def observe(model):
    """A clone of ``model`` and the record of its UNet calls."""
    model, record = model.clone(), Observed()
    model.add_wrapper_with_key(WrappersMP.DIFFUSION_MODEL, "observer", record.wrap)
    return model, record


def denoise_once(guider, noise: torch.Tensor, sigma: float = 3.0, latent: torch.Tensor | None = None) -> torch.Tensor:
    """One denoised prediction of a guider at ``sigma``, through ComfyUI's whole sampling path."""
    sampler = comfy.samplers.KSAMPLER(
        lambda model, x, sigmas, extra_args, **_: model(x, sigmas[:1] * x.new_ones(len(x)), **extra_args)
    )
    latent = torch.zeros_like(noise) if latent is None else latent
    with torch.no_grad():
        return guider.sample(noise, latent, sampler, torch.tensor([sigma, 0.0]), disable_pbar=True, seed=0)


def cfg_guider(model, positive, negative, cfg: float = 4.0):
    guider = comfy.samplers.CFGGuider(model)
    guider.set_conds(positive, negative)
    guider.set_cfg(cfg)
    return guider
