"""The diffusion loss of a frozen ComfyUI model whose attention layers see quality tokens."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import comfy.model_management
import torch
from comfy.model_patcher import ModelPatcher
from comfy.model_sampling import EPS, ModelSamplingContinuousEDM
from torch import Tensor, nn

from ..adapter.attention import attend, own_attention
from ..adapter.keys_values import KeysValues, by_site, normed
from ..adapter.site import Site
from ..adapter.sites import sites
from ..adapter.transformer_forward import sites_told
from ..inference_mode import leave_inference_mode
from .forward import differentiable, differentiable_attention
from .stream import Batch

GUIDANCE = 1.0  # of models that are told how strongly they were to be guided: not at all
KEYS_VALUES = "iqa_adapter_training"  # key of transformer_options: K', V' of the forward at every site, or None
DTYPES = {"bfloat16": torch.bfloat16, "float32": torch.float32, "float16": torch.float16}


class Objective:
    """Loss of a batch as a function of K' and V'.

    It trains on the weights of the connected model, LoRAs included; attention patches and wrappers that were put on it
    for sampling do not act.

    Args:
        patcher: a ComfyUI model, UNet or transformer. Its weights are frozen (``requires_grad=False``) and loaded on
            its device.
        precision: in which the model computes: ``auto``, ``bfloat16``, ``float32`` or ``float16``.
        min_snr_gamma: see :func:`min_snr_weights`; 0 weighs all noise levels alike.

    Raises:
        ValueError: adapters do not work with the model.
    """

    def __init__(self, patcher: ModelPatcher, precision: str, min_snr_gamma: float = 0.0):
        self.min_snr_gamma = min_snr_gamma
        self.sites = sites(patcher.get_model_object("diffusion_model"))
        self.device = patcher.load_device
        self.dtype = _fastest(self.device) if precision == "auto" else DTYPES[precision]
        self.patcher = patcher.clone()
        if self.dtype != (patcher.get_model_object("manual_cast_dtype") or patcher.model.get_dtype()):
            self.patcher.set_model_compute_dtype(self.dtype)
        self.model = self.patcher.model
        self.load()
        self.options = training_options(self.sites)

    def load(self, room: float = 1e20) -> None:
        """Bring the model to its device, ready for a backward pass through it; again after another use of it.

        Args:
            room: bytes that other models make beside it; by default more than there are, so that all of them leave.
        """
        comfy.model_management.load_models_gpu([self.patcher], memory_required=room, force_full_load=True)
        self.model.requires_grad_(False)
        leave_inference_mode(self.model)
        self._loaded = self.patcher.loaded_size()

    def stay(self) -> None:
        """Bring the model back if models that were used in between have pushed parts of it off its device."""
        if self.patcher.loaded_size() != self._loaded:
            self.load(room=0)

    @property
    def unet(self) -> nn.Module:
        return self.model.diffusion_model

    def loss(self, keys_values: Tensor | None, batch: Batch) -> Tensor:
        """Mean squared error of the model's own prediction (noise, v, flow, ...).

        ``model_sampling`` turns a prediction F into ``denoised = a(sigma) x + c(sigma) F``. So the error of F is the
        error of the denoised latent over c, whatever the model predicts.

        Args:
            keys_values: ``[N, T, 2 sum(C)]``; None for the model without quality tokens.

        Texts of different lengths go through a transformer one after the other: it takes no padding.
        """
        parts = list(self._equally_long(batch, keys_values))
        losses = [self._loss(some, part) * len(part.latents) for some, part in parts]
        return torch.stack(losses).sum() / len(batch.latents)

    def _equally_long(self, batch: Batch, keys_values: Tensor | None) -> Iterator[tuple[Tensor | None, Batch]]:
        shapes = [
            tuple((name, tuple(value.shape)) for name, value in row.items() if isinstance(value, Tensor))
            for row in batch.conditionings
        ]
        if len(set(shapes)) == 1 or not self.sites[0].family:  # ComfyUI repeats the texts of UNets
            yield keys_values, batch
            return
        for shape in dict.fromkeys(shapes):
            rows = [number for number, own in enumerate(shapes) if own == shape]
            yield None if keys_values is None else keys_values[rows], replace(
                batch, latents=batch.latents[rows], noise=batch.noise[rows], quantiles=batch.quantiles[rows],
                quality=batch.quality[rows], keep=batch.keep[rows],
                conditionings=[batch.conditionings[row] for row in rows],
            )  # fmt: skip

    def _loss(self, keys_values: Tensor | None, batch: Batch) -> Tensor:
        sampling = self.model.model_sampling
        latents, noise = batch.latents.to(self.device), batch.noise.to(self.device)
        sigma = noise_levels(sampling, batch.quantiles).to(self.device)
        noisy = sampling.noise_scaling(sigma, noise, latents)
        options = {
            **self.options,
            KEYS_VALUES: None if keys_values is None else self._by_site(keys_values),
            "optimized_attention_override": differentiable_attention,
            "cond_or_uncond": [0],
            "sigmas": sigma,
        }
        conditioning = self._conditioning(batch.conditionings, noise)
        with differentiable(self.unet), sites_told(options, noisy, conditioning):
            denoised = self.model.apply_model(noisy, sigma, transformer_options=options, **conditioning)
        one = noisy.new_ones(len(noisy), *[1] * (noisy.ndim - 1))
        slope = sampling.calculate_denoised(sigma, one, torch.zeros_like(one))
        squares = ((denoised - latents) / slope).square()
        if self.min_snr_gamma:
            squares = squares * min_snr_weights(sigma.view_as(slope), slope, self.min_snr_gamma)
        return squares.mean()

    def _by_site(self, keys_values: Tensor) -> KeysValues:
        return by_site(normed(keys_values.to(self.dtype), self.sites), self.sites)

    def _conditioning(self, conditionings: list[dict], noise: Tensor) -> dict[str, Tensor]:
        """Arguments of ``apply_model`` from those of ``extra_conds``, joined as ComfyUI joins conditionings."""
        guided = getattr(getattr(self.unet, "params", None), "guidance_embed", False)
        told = {"guidance": GUIDANCE} if guided else {}
        rows = [
            self.model.extra_conds(noise=noise[i : i + 1], device=self.device, **told, **conditioning)
            for i, conditioning in enumerate(conditionings)
        ]
        joined = {name: rows[0][name].concat([row[name] for row in rows[1:]]) for name in rows[0]}
        return {name: value.to(self.device) if isinstance(value, Tensor) else value for name, value in joined.items()}


class TrainingAttention:
    """Attention of a site while the quality tokens, or the model, learn: to K' and V' that travel with the forward."""

    def __init__(self, number: int):
        self.number = number

    def __call__(self, q: Tensor, k: Tensor, v: Tensor, extra_options: dict) -> Tensor:
        out = own_attention(q, k, v, extra_options)
        for keys, values, strength, _ in self.terms(q, extra_options):
            out = attend(out, q, keys, values, strength, extra_options)
        return out

    def terms(self, _queries: Tensor, extra_options: dict) -> list[tuple[Tensor, Tensor, float, None]]:
        """As :meth:`..adapter.attention.QualityAttention.terms`."""
        there = extra_options[KEYS_VALUES]
        return [] if there is None else [(*there[self.number], 1.0, None)]


def training_options(found: Sequence[Site]) -> dict:
    """``transformer_options`` with which all sites attend to what is in ``transformer_options[KEYS_VALUES]``."""
    options: dict = {"patches_replace": {}}
    for number, site in enumerate(found):
        site.install(options, lambda _, number=number: TrainingAttention(number))
    return options


def _fastest(device: torch.device) -> torch.dtype:
    """Devices that only emulate bfloat16 (older GPUs, most CPUs) are many times slower in it than in float32."""
    return torch.bfloat16 if comfy.model_management.should_use_bf16(device) else torch.float32


def noise_levels(sampling: nn.Module, quantiles: Tensor) -> Tensor:
    """Noise levels at places 0...1 of a model's schedule: uniform over its timesteps.

    Args:
        sampling: the model's ``model_sampling``.
        quantiles: ``[N]``

    Returns:
        sigma ``[N]`` float32.
    """
    if isinstance(sampling, ModelSamplingContinuousEDM):
        first, last = (sampling.timestep(sigma) for sigma in (sampling.sigma_min, sampling.sigma_max))
        times = first + (last - first) * quantiles.float().to(first.device)
        return torch.stack([torch.as_tensor(sampling.sigma(time)) for time in times])  # some take one at a time
    table = sampling.sigmas
    return table[(quantiles * len(table)).long().to(table.device)]


def min_snr_weights(sigma: Tensor, slope: Tensor, gamma: float) -> Tensor:
    """Weights of the squared error of a model's own prediction F (Hang et al. 2023, arXiv 2303.09556).

    The error of the denoised latent counts ``min(SNR, gamma)`` times, where ``SNR = 1 / sigma^2``, and that of F is it
    over c. So the weights are ``min(SNR, gamma) c^2``: ``min(SNR, gamma) / SNR`` of a model that predicts noise,
    ``min(SNR, gamma) / (SNR + 1)`` of one that predicts v.

    Args:
        sigma: ``[N, ...]`` noise levels, of latents with variance 1 that are not scaled down as noise is added.
        slope: c of them.
    """
    return sigma.pow(-2).clamp(max=gamma) * slope.square()


def check_weighting(patcher: ModelPatcher, min_snr_gamma: float) -> None:
    """Refuse min-SNR weighting where SNR is not ``1 / sigma^2``.

    Raises:
        ValueError: says so.
    """
    sampling = patcher.get_model_object("model_sampling")
    if min_snr_gamma and not (isinstance(sampling, EPS) and sampling.sigma_data == 1):
        raise ValueError(
            f"min_snr_gamma {min_snr_gamma:g} is for models that predict noise or v, and this one ({_names(sampling)}) "
            "does neither. Leave min_snr_gamma at 0."
        )


def _names(sampling: nn.Module) -> str:
    return ", ".join(base.__name__ for base in type(sampling).__bases__)
