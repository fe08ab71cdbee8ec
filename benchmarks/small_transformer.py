"""A Flux of 0.4 million parameters on the quickstart's scenes, small enough to be trained on one processor.

It is for experiments with the mathematics of quality tokens in transformers (:mod:`.transformer_attention`): the class
is ComfyUI's own, pictures have 32x32 pixels (64 positions), captions go through the quickstart's text encoder. A third
of the pictures are clean, a third blurred, a third noisy; captions do not say so.
"""

from __future__ import annotations

import time
from pathlib import Path

import comfy.latent_formats
import comfy.model_base
import comfy.model_patcher
import comfy.ops
import comfy.supported_models_base
import numpy as np
import torch
import torch.nn.functional as F
from comfy.ldm.modules.attention import attention_basic
from torch import Tensor, nn

from iqa_adapter.quickstart.making.muon import Muon
from iqa_adapter.quickstart.model import load_quickstart
from iqa_adapter.quickstart.rendering import render_pictures
from iqa_adapter.quickstart.text_encoder import WIDTH, encode, tokenize
from iqa_adapter.quickstart.world import TRAINING_SEEDS, caption, prompt, sample_scene

SIZE, BLOCK = 32, 2  # pixels of a side; 2x2 pixels are one position of the latent, 2x2 of these one token
HIDDEN, HEADS, DOUBLE, SINGLE = 64, 2, 1, 3
BLUR, NOISE = 1.6, 0.22  # pixels and share of the range at severity 1
KINDS = ("clean", "blur", "noise")
SCENES, BATCH, EMA = 4000, 32, 0.995


class Latents(comfy.latent_formats.LatentFormat):
    """Pixels in -1...1 times two: about unit variance."""

    scale_factor = 2.0
    latent_channels = 3 * BLOCK**2


class Config(comfy.supported_models_base.BASE):
    """Flux with one modulation for all blocks, as in Flux 2, and a schedule without shift."""

    unet_config = {
        "in_channels": Latents.latent_channels,
        "out_channels": Latents.latent_channels,
        "vec_in_dim": WIDTH,
        "context_in_dim": WIDTH,
        "hidden_size": HIDDEN,
        "mlp_ratio": 4.0,
        "num_heads": HEADS,
        "depth": DOUBLE,
        "depth_single_blocks": SINGLE,
        "axes_dim": [8, 12, 12],
        "theta": 10000,
        "patch_size": 2,
        "qkv_bias": True,
        "guidance_embed": False,
        "global_modulation": True,
        "dtype": torch.float32,
    }
    unet_extra_config: dict = {}
    sampling_settings = {"shift": 0.0}
    latent_format = Latents
    supported_inference_dtypes = [torch.float32]
    memory_usage_factor = 0.5
    training_resolution = SIZE

    def __init__(self):
        unet_config = dict(self.unet_config)
        if "txt_ids_dims" in comfy.ldm.flux.model.FluxParams.__annotations__:  # newer ComfyUI
            unet_config["txt_ids_dims"] = []
        super().__init__(unet_config)


def make_model() -> comfy.model_base.Flux:
    """With random weights as training begins: every branch adds nothing."""
    torch.manual_seed(0)
    base = comfy.model_base.Flux(Config(), device=torch.device("cpu"))
    for name, module in base.diffusion_model.named_modules():
        if isinstance(module, nn.Linear):
            nn.Linear.reset_parameters(module)
        if name.endswith(("proj", "img_mlp.2", "txt_mlp.2", "linear2", "final_layer.linear")) and hasattr(
            module, "weight"
        ):
            nn.init.zeros_(module.weight)
            nn.init.zeros_(module.bias)
    for module in base.diffusion_model.modules():
        if isinstance(module, nn.LayerNorm):  # Flux adds to the stream in place what the norm's backward pass needs
            module.register_forward_pre_hook(lambda _, inputs: (inputs[0].clone(),))
    for name, weight in base.diffusion_model.named_parameters():
        if "_norm." in name and name.endswith((".scale", ".weight")):
            nn.init.ones_(weight)
    return base


def load_model(file: Path) -> comfy.model_patcher.ModelPatcher:
    base = make_model()
    own = base.diffusion_model.state_dict()
    state = {_named(key, own): value.float() for key, value in torch.load(file, weights_only=True)["average"].items()}
    base.diffusion_model.load_state_dict(state)
    base.diffusion_model.eval().requires_grad_(False)
    return comfy.model_patcher.ModelPatcher(base, torch.device("cpu"), torch.device("cpu"))


def _named(key: str, own: dict) -> str:
    """Norms' weights have another name in newer versions of ComfyUI."""
    return key if key in own else key.removesuffix("scale") + "weight"


class Scenes:
    """Small scenes with captions and known distortions.

    Attributes:
        pictures: ``[S, 3, 32, 32]`` bytes.
        context, pooled: of their captions, ``[S, 24, 128]`` and ``[S, 128]``; of the empty one in ``empty``.
    """

    def __init__(self, seeds: range, count: int, file: Path, naming_all: bool = False):
        if file.exists():
            parts = torch.load(file, weights_only=True)
        else:
            parts = self._make(seeds, count, naming_all)
            torch.save(parts, file)
        self.pictures, self.context, self.pooled = parts["pictures"], parts["context"], parts["pooled"]
        self.empty = parts["empty_context"], parts["empty_pooled"]

    @staticmethod
    def _make(seeds: range, count: int, naming_all: bool) -> dict[str, Tensor]:
        _, clip, _ = load_quickstart()
        transformer = clip.cond_stage_model.chunk_encoder.transformer
        scenes = [sample_scene(seeds[number]) for number in range(count)]
        pictures = torch.cat([
            F.avg_pool2d(render_pictures(scenes[start : start + 100]), 2) for start in range(0, count, 100)
        ])  # fmt: skip
        texts = [prompt(scene) if naming_all else caption(scene, 0) for scene in scenes]
        with torch.no_grad():
            context, pooled = encode(transformer, tokenize(texts))
            empty = encode(transformer, tokenize([""]))
        parts = {"pictures": (pictures * 255).round().byte(), "context": context.half(), "pooled": pooled.half()}
        return parts | {"empty_context": empty[0], "empty_pooled": empty[1]}

    def batch(self, count: int, generator: torch.Generator) -> dict[str, Tensor]:
        """``latents``, ``context``, ``pooled``, ``severities`` ``[N, 2]`` of blur and noise."""
        numbers = torch.randint(len(self.pictures), (count,), generator=generator)
        kinds = torch.randint(len(KINDS), (count,), generator=generator)
        severity = torch.rand(count, generator=generator)
        severities = torch.stack([severity * (kinds == 1), severity * (kinds == 2)], 1)
        pictures = distort(self.pictures[numbers].float() / 255, severities, generator)
        context, pooled = self.context[numbers].float(), self.pooled[numbers].float()
        silent = torch.rand(count, generator=generator) < 0.1
        context = torch.where(silent[:, None, None], self.empty[0], context)
        pooled = torch.where(silent[:, None], self.empty[1], pooled)
        return {"latents": to_latents(pictures), "context": context, "pooled": pooled,
                "severities": severities, "pictures": pictures}  # fmt: skip


def distort(pictures: Tensor, severities: Tensor, generator: torch.Generator) -> Tensor:
    """``[N, 3, 32, 32]`` in 0...1, each blurred and then made noisy by its severities ``[N, 2]``, 0...1."""
    sigma = (severities[:, 0] * BLUR).clamp_min(0.05)
    offsets = torch.arange(-5, 6)
    weights = (-(offsets**2) / (2 * sigma[:, None] ** 2)).exp()
    weights = (weights / weights.sum(1, keepdim=True)).repeat_interleave(3, 0)
    flat = F.pad(pictures.flatten(0, 1)[None], (5, 5, 5, 5), mode="replicate")
    flat = F.conv2d(flat, weights[:, None, None, :], groups=len(weights))
    flat = F.conv2d(flat, weights[:, None, :, None], groups=len(weights))
    noise = torch.randn(pictures.shape, generator=generator)
    return (flat.view_as(pictures) + NOISE * severities[:, 1, None, None, None] * noise).clamp(0, 1)


def to_latents(pictures: Tensor) -> Tensor:
    return F.pixel_unshuffle(pictures * 2 - 1, BLOCK) * Latents.scale_factor


def to_pictures(latents: Tensor) -> Tensor:
    return (F.pixel_shuffle(latents / Latents.scale_factor, BLOCK) / 2 + 0.5).clamp(0, 1)


def plain_attention(_chosen, *args, **kwargs) -> Tensor:
    """On a processor the plain products are faster than the fused kernel's backward pass."""
    return attention_basic(*args, **kwargs)


def flow_loss(model: nn.Module, batch: dict, generator: torch.Generator, **options) -> Tensor:
    """Error of the velocity ``noise - latent`` (rectified flow, Liu et al. 2022, arXiv 2209.03003)."""
    x0 = batch["latents"]
    count = len(x0)
    quantile = (torch.randperm(count, generator=generator) + torch.rand(count, generator=generator)) / count
    t = torch.sigmoid(torch.special.ndtri(quantile.clamp(1e-3, 1 - 1e-3)))
    noise = torch.randn(x0.shape, generator=generator)
    place = t[:, None, None, None]
    options = {"optimized_attention_override": plain_attention, **options}
    velocity = model(
        torch.lerp(x0, noise, place), t, batch["context"], y=batch["pooled"], transformer_options=options
    )  # fmt: skip
    return (velocity - (noise - x0)).square().mean()


def train_base(work: Path, steps: int, minutes: float) -> None:
    """Go on from ``work/base.pt`` until ``steps`` or for some minutes."""
    scenes = Scenes(TRAINING_SEEDS, SCENES, work / "scenes.pt")
    model = make_model().diffusion_model
    matrices = {
        id(p): p for name, p in model.named_parameters()
        if p.ndim == 2 and "blocks" in name
    }  # fmt: skip
    muon = Muon(list(matrices.values()), lr=2e-3)
    adamw = torch.optim.AdamW(
        [p for p in model.parameters() if id(p) not in matrices], lr=2e-3, betas=(0.9, 0.99), weight_decay=0.01
    )
    average = {name: p.detach().clone() for name, p in model.named_parameters()}
    step, file, losses = 0, work / "base.pt", []
    if file.exists():
        state = torch.load(file, weights_only=True)
        model.load_state_dict(state["model"])
        muon.load_state_dict(state["muon"])
        adamw.load_state_dict(state["adamw"])
        average, step, losses = state["average"], state["step"], state["losses"]
    end, recent = time.monotonic() + 60 * minutes, []
    while step < steps and time.monotonic() < end:
        generator = torch.Generator().manual_seed(step)
        factor = min(1, (step + 1) / 100)  # constant then: the averaged weights are what is used
        for optimizer in (muon, adamw):
            optimizer.param_groups[0]["lr"] = 2e-3 * factor
            optimizer.zero_grad(set_to_none=True)
        loss = flow_loss(model, scenes.batch(BATCH, generator), generator)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        muon.step()
        adamw.step()
        step += 1
        with torch.no_grad():
            decay = min(EMA, (step + 1) / (step + 10))
            for name, p in model.named_parameters():
                average[name].lerp_(p, 1 - decay)
        recent.append(loss.item())
        if step % 100 == 0 or step == steps:
            losses.append((step, float(np.mean(recent))))
            print(step, f"{losses[-1][1]:.4f}", time.strftime("%H:%M:%S"), flush=True)
            recent = []
            state = {"model": model.state_dict(), "average": average, "muon": muon.state_dict(),
                     "adamw": adamw.state_dict(), "step": step, "losses": losses}  # fmt: skip
            torch.save(state, file.with_suffix(".tmp"))
            file.with_suffix(".tmp").replace(file)
