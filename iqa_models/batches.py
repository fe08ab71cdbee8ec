"""ComfyUI images -> the batches that an IQA model takes, one at a time in its memory.

How pixels become input: grey is repeated to three channels; RGBA is composited over white, as a viewer shows it, since
the colours under transparent pixels mean nothing; values above 1 (HDR) or below 0 are clamped, since the models know
0...1 only.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import comfy.model_management
import comfy.utils
import torch
from torch import Tensor

if TYPE_CHECKING:
    from .catalogue import Entry
    from .loading import IQAModel

# "512": the size at which the paper's adapters saw their training images; "64": the quickstart's.
PROTOCOLS = ("as is", "512", "64")
PIXELS_PER_BATCH = {"cpu": 2**20, "other": 2**22}  # of the automatic batch size: 4 and 16 images of 512x512
WORKING_BYTES_PER_PIXEL = 1024  # estimate of a convolutional network's activations, for ComfyUI's memory planning


def run_in_batches(
    model: IQAModel,
    images: Tensor,
    call: Callable[[Tensor], Tensor],
    protocol: str = "as is",
    batch_size: int = 0,
    progress: comfy.utils.ProgressBar | None = None,
) -> Tensor:
    """Feed images through a model, batch by batch; only one batch is converted at a time.

    Batches of models that are not batch-safe hold one image. Out of memory halves the batch, down to one image.

    Args:
        model: is brought to its device first, beside or instead of what else ComfyUI holds there.
        images: ``[batch, height, width, channels]``, 0...1, that passed :func:`check_images`.
        call: ``[n, 3, H, W]`` float32 on the model's device -> ``[n, ...]``.
        protocol: ``"as is"``, or ``"512"`` or ``"64"`` to scale every image to that many pixels on each side (bilinear,
            antialiased) first.
        batch_size: images at once; 0 chooses by size of image and kind of device.
        progress: advances by one per image.

    Returns:
        ``[batch, ...]`` float32 on the CPU.

    Raises:
        comfy.model_management.InterruptProcessingException: the user cancelled; asked before every batch.
    """
    device = model.patcher.load_device
    pixels = math.prod(_size(images, protocol))
    size = batch_size if batch_size and model.entry.batch_safe else automatic_batch_size(model.entry, pixels, device)
    size = min(size, len(images))
    working_memory = size * pixels * WORKING_BYTES_PER_PIXEL
    comfy.model_management.load_models_gpu([model.patcher], memory_required=working_memory)
    outputs, done = [], 0
    while done < len(images):
        comfy.model_management.throw_exception_if_processing_interrupted()
        batch = images[done : done + size]
        output = _attempt(call, batch, protocol, device)
        if output is None:
            comfy.model_management.soft_empty_cache()
            size = (len(batch) + 1) // 2
            continue
        outputs.append(output)
        done += len(batch)
        if progress is not None:
            progress.update(len(batch))
    return torch.cat(outputs)


def check_images(images: Tensor, entries: Sequence[Entry], protocol: str) -> None:
    """Refuse, before any work, what one of the models cannot judge.

    Raises:
        ValueError: unknown protocol, no images, another number of channels, NaN, or a side outside the model's limits.
    """
    if protocol not in PROTOCOLS:
        raise ValueError(f"Unknown protocol {protocol!r}; expected one of {', '.join(PROTOCOLS)}.")
    if images.ndim != 4 or not len(images) or images.shape[-1] not in (1, 3, 4):
        raise ValueError(
            f"Images must be [batch, height, width, channels] with 1, 3 or 4 channels, not {list(images.shape)}. "
            "Connect an IMAGE with at least one picture."
        )
    if images.amin().isnan():
        first = next(number for number, image in enumerate(images, 1) if image.isnan().any())
        raise ValueError(f"Image {first} of {len(images)} contains NaN and cannot be judged; look at what made it.")
    height, width = _size(images, protocol)
    for entry in entries:
        if min(height, width) < entry.minimum_side:
            raise ValueError(
                f"Images of {width}x{height} are too small for {entry.name}, which needs at least "
                f"{entry.minimum_side} pixels on each side. Upscale them, or use the 512 protocol."
            )
        if entry.maximum_side and max(height, width) > entry.maximum_side:
            raise ValueError(
                f"Images of {width}x{height} are too large for {entry.name}, which takes at most "
                f"{entry.maximum_side} pixels on each side. Downscale them, or use the 512 protocol."
            )


def model_input(images: Tensor, protocol: str, device: torch.device) -> Tensor:
    """``[n, height, width, 1 | 3 | 4]`` -> ``[n, 3, H, W]`` float32 in 0...1 on the device."""
    pixels = images.to(device, torch.float32).clamp(0, 1).movedim(-1, 1)
    if pixels.shape[1] == 1:
        pixels = pixels.expand(-1, 3, -1, -1)
    elif pixels.shape[1] == 4:
        colour, alpha = pixels[:, :3], pixels[:, 3:]
        pixels = colour * alpha + (1 - alpha)
    size = _size(images, protocol)
    if size != pixels.shape[2:]:
        pixels = torch.nn.functional.interpolate(pixels, size, mode="bilinear", antialias=True)
    return pixels.contiguous()


@torch.no_grad()
def _attempt(call: Callable[[Tensor], Tensor], batch: Tensor, protocol: str, device: torch.device) -> Tensor | None:
    """The output, or None if a batch of several images did not fit into memory."""
    try:
        return call(model_input(batch, protocol, device)).float().cpu()
    except comfy.model_management.OOM_EXCEPTION:
        if len(batch) == 1:
            raise
        return None


def automatic_batch_size(entry: Entry, pixels: int, device: torch.device) -> int:
    """Images of so many pixels that are worth scoring at once."""
    budget = PIXELS_PER_BATCH["cpu" if device.type == "cpu" else "other"]
    return max(1, budget // pixels) if entry.batch_safe else 1


def _size(images: Tensor, protocol: str) -> tuple[int, int]:
    """Height and width of an image as the model gets it."""
    return tuple(images.shape[1:3]) if protocol == "as is" else (int(protocol), int(protocol))
