"""What :mod:`benchmarks.cuda` measures in processes of their own, each with its arguments of ComfyUI.

The UNet has SDXL's 70 cross-attention layers, narrow, with random weights. Everything also runs on a CPU.
"""

from __future__ import annotations

import contextlib
import itertools
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import comfy.model_management
import comfy.model_patcher
import comfy.samplers
import comfy.supported_models
import torch
from comfy.model_patcher import ModelPatcher
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from benchmarks.attention import SDXL, TEXT, random_adapter, tokens_of
from iqa_adapter.adapter.apply import apply_adapter
from iqa_adapter.training.loop import train
from iqa_adapter.training.observer import Observer
from iqa_adapter.training.settings import TrainingSettings
from iqa_adapter.training.stream import TrainingData

CPU = torch.device("cpu")
NARROW = SDXL | {"model_channels": 64, "context_dim": 64}
KINDS = {  # name -> dtype of the weights, dtype to compute in
    "float32": (torch.float32, None),
    "float16": (torch.float16, None),
    "bfloat16": (torch.bfloat16, None),
    "fp8 in float16": (torch.float8_e4m3fn, torch.float16),
    "fp8 in bfloat16": (torch.float8_e4m3fn, torch.bfloat16),
}
COUNTED = {  # column -> events of the profiler
    "kernels": ("cudaLaunchKernel", "cudaLaunchKernelExC", "cuLaunchKernel", "cuLaunchKernelEx"),
    "copies": ("cudaMemcpyAsync",),
    "values read": ("aten::_local_scalar_dense",),
}


def parity() -> dict[str, dict[str, float]]:
    """Largest relative errors of one prediction against float32 on the CPU with the same rounded weights.

    Returns:
        By kind: ``unpatched``, ``adapter``, ``with mask``, and ``effect``, by how much the adapter changes the latent.
    """
    with _exact_float32():
        return {name: _errors(*kind) for name, kind in KINDS.items()}


def memory(file: str) -> dict[str, float]:
    """Predictions in float16, written to ``file``; bytes of the UNet, and of it on the device."""
    with _exact_float32():
        model = narrow_sdxl(torch.float16)
        torch.save(predictions(model), file)
        return {"size": model.model_size(), "on the device": model.loaded_size()}


def sampling(model: ModelPatcher, size: int, steps: int = 8, turns: int = 3) -> dict[str, dict[str, float]]:
    """A full sampling with and without an adapter, in turns: median milliseconds of a step, and what one launches."""
    candidates = variants(model, masked=True)
    times: dict[str, list[float]] = {name: [] for name in candidates}
    for turn in range(turns):
        for name, each in candidates.items():
            marks: list[float] = []
            sample(each, size, steps, lambda marks=marks: marks.append(_now()))
            if turn:
                times[name] += [1000 * (after - before) for before, after in itertools.pairwise(marks[1:])]
    return {name: {"ms": statistics.median(times[name]), **_counts(each, size)} for name, each in candidates.items()}


def training(steps: int = 24) -> dict[str, dict[str, float]]:
    """By precision: steps per second, bytes on the device at most, and the last loss."""
    return {precision: _trained(precision, steps) for precision in ("float32", "bfloat16", "auto")}


def narrow_sdxl(dtype: torch.dtype, cast: torch.dtype | None = None, device: torch.device | None = None):
    """ComfyUI model with random weights, the same ones rounded to every dtype.

    Args:
        cast: dtype to compute in, where it is not that of the weights.
        device: on which it samples; ComfyUI's where none is given.
    """
    config = comfy.supported_models.SDXL(dict(NARROW))
    config.set_inference_dtype(dtype, cast)
    model, generator = config.get_model({}, device=CPU), torch.Generator().manual_seed(0)
    for name, parameter in model.diffusion_model.named_parameters():
        if parameter.ndim == 1:
            value = torch.full(parameter.shape, float(name.endswith("weight")))
        else:
            value = torch.randn(parameter.shape, generator=generator) / parameter[0].numel() ** 0.5
        parameter.data.copy_(value)
        parameter.requires_grad_(False)
    return ModelPatcher(model, load_device=device or comfy.model_management.get_torch_device(), offload_device=CPU)


def variants(model: ModelPatcher, masked: bool) -> dict[str, ModelPatcher]:
    """A model without, and with an adapter of random weights."""
    torch.manual_seed(3)  # of the projection
    tokens = tokens_of(random_adapter(model, torch.float16), 1.0)
    found = {"unpatched": model, "adapter": apply_adapter(model, tokens)}
    if masked:
        mask = torch.rand(1, 64, 64, generator=torch.Generator().manual_seed(1))
        found["with mask"] = apply_adapter(model, tokens, mask=mask)
    return found


def predictions(model: ModelPatcher) -> dict[str, Tensor]:
    """Latents after one step."""
    return {name: sample(each, 16, 1).float().cpu() for name, each in variants(model, masked=True).items()}


def sample(model: ModelPatcher, size: int, steps: int, after_step=lambda: None) -> Tensor:
    """Latent of ``size x size`` positions through ComfyUI's guider, with a positive and a negative conditioning."""
    width = model.model.model_config.unet_config["context_dim"]
    generator = torch.Generator().manual_seed(2)
    conds = []
    for _ in ("positive", "negative"):
        text, pooled = torch.randn(1, TEXT, width, generator=generator), torch.randn(1, 1280, generator=generator)
        conds.append([[text, {"pooled_output": pooled}]])
    guider = comfy.samplers.CFGGuider(model)
    guider.set_conds(*conds)
    guider.set_cfg(4.0)
    noise = torch.randn(1, 4, size, size, generator=generator)
    sigmas = comfy.samplers.calculate_sigmas(model.get_model_object("model_sampling"), "normal", steps)
    with torch.inference_mode():
        return guider.sample(
            noise, torch.zeros_like(noise), comfy.samplers.sampler_object("euler"), sigmas, disable_pbar=True, seed=0,
            callback=lambda *_: after_step(),
        )  # fmt: skip


def relative(value: Tensor, reference: Tensor) -> float:
    """Norm of the difference over that of the reference."""
    return ((value.double() - reference.double()).norm() / reference.double().norm()).item()


def _errors(dtype: torch.dtype, cast: torch.dtype | None) -> dict[str, float]:
    exact = narrow_sdxl(torch.float32, device=CPU)
    for parameter in exact.model.diffusion_model.parameters():
        parameter.data = parameter.data.to(dtype).float()
    reference, made = predictions(exact), predictions(narrow_sdxl(dtype, cast))
    errors = {name: relative(made[name], reference[name]) for name in made}
    return {**errors, "effect": relative(reference["adapter"], reference["unpatched"])}


def _counts(model: ModelPatcher, size: int) -> dict[str, float]:
    """Of a step, the difference of a long and a short sampling."""
    short, long = (_events(model, size, steps) for steps in (2, 4))
    return {
        column: sum(long.get(name, 0) - short.get(name, 0) for name in names) / 2 for column, names in COUNTED.items()
    }


def _events(model: ModelPatcher, size: int, steps: int) -> dict[str, int]:
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if torch.cuda.is_available() else [])]
    with profile(activities=activities) as events:
        sample(model, size, steps)
        _now()
    return {event.key: event.count for event in events.key_averages()}


class _Clock(Observer):
    """Notes when a step ended, and its loss."""

    def __init__(self):
        self.times: list[float] = []
        self.losses: list[float] = []

    def step(self, step: int, loss: float) -> None:
        self.times.append(_now())
        self.losses.append(loss)


class _Items(torch.utils.data.Dataset):
    """Random latents and texts."""

    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        generator = torch.Generator().manual_seed(index)
        shapes = {"quality": (1,), "latent": (4, 32, 32), "text": (TEXT, NARROW["context_dim"]), "pooled": (1280,)}
        return {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}


def _trained(precision: str, steps: int) -> dict[str, float]:
    model, clock = narrow_sdxl(torch.float32), _Clock()
    empty = {"text": torch.zeros(TEXT, NARROW["context_dim"]), "pooled": torch.zeros(1280)}
    data = TrainingData(_Items(), random_adapter(model, torch.float16).metadata, empty)
    settings = TrainingSettings(steps=steps, batch_size=4, precision=precision, late_from=1.0)
    cuda = torch.cuda.is_available()
    if cuda:
        torch.cuda.reset_peak_memory_stats()
    with tempfile.TemporaryDirectory() as folder:
        train(model, data, settings, Path(folder), clock)
    seconds = [after - before for before, after in itertools.pairwise(clock.times[2:])]
    return {
        "steps per second": 1 / statistics.median(seconds),
        "bytes": torch.cuda.max_memory_allocated() if cuda else 0,
        "last loss": clock.losses[-1],
    }


@contextlib.contextmanager
def _exact_float32() -> Iterator[None]:
    """Without the shorter mantissas of TF32."""
    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = before


def _now() -> float:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()
