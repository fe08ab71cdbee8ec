"""ComfyUI images -> the batches that an IQA model takes, one at a time in its memory.

How pixels become input: grey is repeated to three channels; RGBA is composited over white, as a viewer shows it, since
the colours under transparent pixels mean nothing; values a little above 1 (HDR) or below 0 are clamped, since the
models know 0...1 only. Pictures of 0...255 are refused.
"""

from __future__ import annotations

import logging
import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import comfy.model_management
import comfy.utils
import torch
from torch import Tensor

from ..quality.resize import AS_IS, RESIZES

if TYPE_CHECKING:
    from .catalogue import Entry
    from .loading import IQAModel

PIXELS_PER_BATCH = {"cpu": 2**20, "other": 2**22}  # of the automatic batch size: 4 and 16 images of 512x512
SHARE_OF_FREE_MEMORY = 0.8  # for an automatic batch; what is measured of a metric is no bound
BRIGHTEST = 4.0  # two stops above white; what is brighter is taken for 0...255

# What pyiqa's metrics raise where a formula has no value: matrices of constant pixels cannot be decomposed
NO_ANSWER = (torch.linalg.LinAlgError, AssertionError)


def run_in_batches(
    model: IQAModel,
    images: Sequence[Tensor],
    call: Callable[[Tensor], Tensor],
    resize: str = AS_IS,
    batch_size: int = 0,
    progress: comfy.utils.ProgressBar | None = None,
    names: Sequence[str] = (),
) -> Tensor:
    """Feed pictures through a model, batch by batch; only one batch is converted at a time.

    Batches hold pictures that have one size when the model sees them, and one picture where the model is not
    batch-safe. Out of memory halves the batch, down to one picture. A picture for which the model has no answer (a
    formula that fails for constant pixels) is NaN, and a line of the log names it; it takes nothing from the others.

    Args:
        model: is brought to its device first, beside or instead of what else ComfyUI holds there.
        images: pictures ``[height, width, channels]``, 0...1, that passed :func:`check_images`; one ``[batch, height,
            width, channels]`` will do.
        call: ``[n, 3, H, W]`` float32 on the model's device -> ``[n, ...]``.
        resize: one of :data:`..quality.resize.RESIZES`; ``"512"`` scales every picture to 512x512 pixels (bilinear,
            antialiased) first.
        batch_size: pictures at once; 0 chooses by size of picture, kind of device, and free memory.
        progress: advances by one per picture.
        names: of the pictures, for the log.

    Returns:
        ``[pictures, ...]`` float32 on the CPU.

    Raises:
        comfy.model_management.InterruptProcessingException: the user cancelled; asked before every batch.
        MemoryError: one picture alone does not fit into memory; one sentence that says what to do.
    """
    device, entry = model.patcher.load_device, model.entry
    same_size = defaultdict(list)
    for number, image in enumerate(images):
        same_size[input_size(image, resize)].append(number)

    def at_once(pixels: int, count: int, free: float) -> int:
        chosen = batch_size if batch_size and entry.batch_safe else automatic_batch_size(entry, pixels, device, free)
        return min(chosen, count)

    wanted = [(math.prod(size), len(numbers)) for size, numbers in same_size.items()]
    memory = max(at_once(pixels, count, math.inf) * entry.working_memory(pixels) for pixels, count in wanted)
    comfy.model_management.load_models_gpu([model.patcher], memory_required=memory)
    run, outputs = _Run(entry, call, resize, device), [None] * len(images)
    for size, numbers in same_size.items():
        free = comfy.model_management.get_free_memory(device)
        count = at_once(math.prod(size), len(numbers), free)
        while numbers:
            comfy.model_management.throw_exception_if_processing_interrupted()
            chosen = numbers[:count]
            made = run([images[number] for number in chosen])
            if made is None:
                comfy.model_management.soft_empty_cache()
                count = (len(chosen) + 1) // 2
                continue
            for number, output in zip(chosen, made, strict=True):
                outputs[number] = output
            numbers = numbers[len(chosen) :]
            if progress is not None:
                progress.update(len(chosen))
    return _joined(outputs, entry.name, names)


def check_images(images: Sequence[Tensor], entries: Sequence[Entry], resize: str) -> None:
    """Refuse, before any work, what one of the models cannot judge.

    Args:
        images: as for :func:`run_in_batches`.
        entries: of the models.

    Raises:
        ValueError: unknown resize, no pictures, another number of channels, NaN, values of 0...255, or a side below a
            model's limit.
    """
    if resize not in RESIZES:
        raise ValueError(f"Unknown resize {resize!r}; expected one of {', '.join(RESIZES)}.")
    if not len(images) or any(image.ndim != 3 or image.shape[-1] not in (1, 3, 4) for image in images):
        shape = list(images.shape) if isinstance(images, Tensor) else [list(image.shape) for image in images]
        raise ValueError(
            f"Images must be [batch, height, width, channels] with 1, 3 or 4 channels, not {shape}. "
            "Connect an IMAGE with at least one picture."
        )
    for number, image in enumerate(images, 1):
        _check_range(image, f"Image {number} of {len(images)}")
        height, width = input_size(image, resize)
        for entry in entries:
            if min(height, width) < entry.minimum_side:
                raise ValueError(
                    f"Images of {width}x{height} are too small for {entry.name}, which needs at least "
                    f"{entry.minimum_side} pixels on each side. Upscale them, or resize them to 512."
                )


def _check_range(image: Tensor, name: str) -> None:
    brightest = image.amax().item()  # NaN where there is one
    if math.isnan(brightest):
        raise ValueError(f"{name} contains NaN and cannot be judged; look at what made it.")
    whole = not image.is_floating_point() or (brightest > 1 and bool((image == image.round()).all()))
    if brightest > BRIGHTEST or (brightest > 1 and whole):
        raise ValueError(
            f"{name} has values up to {brightest:g}, as pictures of 0...255 have; IMAGE means 0...1. Divide it by 255."
        )


def model_input(images: Tensor, resize: str, device: torch.device) -> Tensor:
    """``[n, height, width, 1 | 3 | 4]`` -> ``[n, 3, H, W]`` float32 in 0...1 on the device."""
    pixels = images.to(device, torch.float32).clamp(0, 1).movedim(-1, 1)
    if pixels.shape[1] == 1:
        pixels = pixels.expand(-1, 3, -1, -1)
    elif pixels.shape[1] == 4:
        colour, alpha = pixels[:, :3], pixels[:, 3:]
        pixels = colour * alpha + (1 - alpha)
    size = input_size(images[0], resize)
    if size != pixels.shape[2:]:
        pixels = torch.nn.functional.interpolate(pixels, size, mode="bilinear", antialias=True)
    return pixels.contiguous()


def input_size(image: Tensor, resize: str) -> tuple[int, int]:
    """Height and width in which a model sees a picture ``[height, width, channels]``."""
    return tuple(image.shape[:2]) if resize == AS_IS else (int(resize), int(resize))


def automatic_batch_size(entry: Entry, pixels: int, device: torch.device, free: float) -> int:
    """Pictures of so many pixels that are worth scoring at once, and fit into ``free`` bytes; at least one."""
    if not entry.batch_safe:
        return 1
    budget = PIXELS_PER_BATCH["cpu" if device.type == "cpu" else "other"]
    fitting = SHARE_OF_FREE_MEMORY * free / entry.working_memory(pixels)
    return int(max(1, min(budget // pixels, fitting)))


class _Run:
    """A model asked for a batch, as often as it takes to get an answer."""

    def __init__(self, entry: Entry, call: Callable[[Tensor], Tensor], resize: str, device: torch.device):
        self.entry, self.call, self.resize, self.device = entry, call, resize, device

    @torch.no_grad()
    def __call__(self, images: Sequence[Tensor]) -> list[Tensor | str] | None:
        """An output for each picture, or why there is none; None if several did not fit into memory together."""
        try:
            pixels = torch.cat([model_input(image[None], self.resize, self.device) for image in images])
            outputs = list(self.call(pixels).float().cpu())
            problem = "" if all(output.isfinite().all() for output in outputs) else "its formula gives no number"
        except NO_ANSWER as error:
            problem = str(error).splitlines()[0] if str(error) else type(error).__name__
        except (MemoryError, RuntimeError) as error:
            if not _out_of_memory(error):
                raise
            if len(images) > 1:
                return None
            raise MemoryError(self._too_large(images[0])) from error
        if not problem:
            return outputs
        if len(images) == 1:
            return [problem]
        alone = [self([image]) for image in images]  # what one of them lacks may have spoilt the others
        return [made[0] for made in alone]

    def _too_large(self, image: Tensor) -> str:
        height, width = input_size(image, self.resize)
        needed = self.entry.working_memory(height * width)
        free = comfy.model_management.get_free_memory(self.device)
        return (
            f"{self.entry.name} does not fit into memory: a picture of {width}x{height} needs about "
            f"{needed / 1e9:.1f} GB, and {free / 1e9:.1f} GB are free. Scale it down, or resize it to 512."
        )


def _out_of_memory(error: Exception) -> bool:
    """Also on the CPU, where PyTorch has no exception of its own for it."""
    kinds = (comfy.model_management.OOM_EXCEPTION, MemoryError)
    return isinstance(error, kinds) or "can't allocate memory" in str(error)


def _joined(outputs: Sequence[Tensor | str], model: str, names: Sequence[str]) -> Tensor:
    """``[pictures, ...]`` with NaN where the answer is a reason why there is none, which goes to the log."""
    shape = next((output.shape for output in outputs if isinstance(output, Tensor)), torch.Size())
    for number, output in enumerate(outputs):
        if isinstance(output, str):
            name = names[number] if names else f"image {number + 1} of {len(outputs)}"
            logging.warning("%s has no answer for %s (%s); it gets NaN.", model, name, output)
    absent = torch.full(shape, math.nan)
    return torch.stack([output if isinstance(output, Tensor) else absent for output in outputs])
