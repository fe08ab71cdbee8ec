"""The training loop, on one device or on many through Hugging Face accelerate."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from pathlib import Path

import comfy.model_management
import torch
from comfy.model_base import BaseModel
from comfy.model_patcher import ModelPatcher

from ..adapter.adapter import Adapter
from ..adapter.checkpoint import save_adapter
from ..adapter.sites import family, sites
from ..optional import needed
from .backward import check_backward
from .forward import recomputed_blocks
from .memory import TrainingOutOfMemory, memory_errors
from .objective import Objective, check_weighting
from .observer import Observer, TrainingStopped
from .settings import TrainingSettings
from .state import CHECKPOINT, TrainingState, has_checkpoint
from .stream import Batch, ItemStream, TrainingData
from .tracking import check_tracker, chosen_tracker, tracked
from .trainable import TrainableAdapter

RESULT, KEPT = "adapter.safetensors", "adapters"  # of a run's folder: the last adapter, and a folder of earlier ones
LESS_MEMORY = "lower batch_size (and raise gradient_accumulation by as much), or set gradient_checkpointing"


class TrainingDiverged(RuntimeError):
    """The loss or its gradient is no longer a finite number."""


def train(
    model: ModelPatcher,
    data: TrainingData,
    settings: TrainingSettings,
    folder: str | Path,
    observer: Observer | None = None,
    initial: Adapter | None = None,
) -> Adapter:
    """Train an adapter, or go on with the training that was begun in ``folder``.

    Under ``accelerate launch`` or ``torchrun``, every process calls it with its own model, which was loaded on the
    process's own device, and with the same data and folder.

    Args:
        model: ComfyUI model with a UNet. It is frozen; its weights and patches stay as they are.
        data: what is learnt.
        settings: of the run; those of a resumed run must be the same, but for more steps.
        folder: receives ``checkpoint.pt`` and the one before, ``loss.jsonl``, logs of the tracker, ``adapters/`` and,
            also of a run that is stopped, ``adapter.safetensors``.
        observer: sees every step and may stop the run. When it (or ComfyUI, inside a forward) raises to cancel the
            run, checkpoint and adapter are written first.
        initial: adapter to start from; None starts from the layers' own W_k and W_v.

    Returns:
        The adapter, with the averaged weights if ``ema_decay`` is set.

    Raises:
        ValueError: model, data and settings do not fit each other, or not the checkpoint.
        TrainingOutOfMemory: the message says what to lower.
        TrainingStopped: the observer said so; checkpoint and adapter have been written.
        OSError: a checkpoint could not be written; the one before is kept.
        TrainingDiverged: NaN or infinity; the last checkpoint is kept.
        ImportError: the tracker is not installed.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with torch.inference_mode(False), torch.enable_grad():
        check(model, data, settings)
        with memory_errors("training", LESS_MEMORY):
            run = _Run(model, data, settings, folder, initial)
            run.go(observer or Observer())
        run.accelerator.wait_for_everyone()
        return run.adapter()


class _Run:
    """One process of a training run."""

    def __init__(
        self, model: ModelPatcher, data: TrainingData, settings: TrainingSettings, folder: Path, initial: Adapter | None
    ):
        with needed("accelerate"):
            from accelerate import Accelerator
        self.settings, self.folder, self.metadata = settings, folder, data.metadata
        self.accelerator = Accelerator(
            cpu=model.load_device.type == "cpu",
            mixed_precision="no",  # `precision` decides, whatever accelerate's own configuration says
            log_with=chosen_tracker(settings.tracker),
            project_dir=folder,
        )
        self.objective = Objective(model, settings.precision, settings.min_snr_gamma)
        unet, quality_width = self.objective.unet, len(data.item(0)["quality"])
        if initial is None:
            adapter = TrainableAdapter.from_unet(unet, quality_width, settings)
        else:
            adapter = TrainableAdapter.from_adapter(initial, unet, quality_width)
        samples = settings.batch_size * settings.gradient_accumulation * self.accelerator.num_processes
        self.state = TrainingState(adapter.to(self.objective.device), settings, samples)
        self.about_schedule = self.state.resume(folder)
        # only the adapter is wrapped and synchronised; it stays with the model, whatever device accelerate found first
        self.forward = self.accelerator.prepare_model(adapter, device_placement=False)
        self.stream = ItemStream(data.items, data.empty_text, settings, data.finish)

    def adapter(self) -> Adapter:
        """The adapter as far as it has learnt."""
        base_model = self.metadata.base_model or family(self.objective.sites)
        names = tuple(site.name for site in self.objective.sites)
        metadata = dataclasses.replace(self.metadata, base_model=base_model, sites=names)
        return self.state.result.to_adapter(RESULT, metadata)

    def go(self, observer: Observer) -> None:
        """All steps that are left; however it ends but in NaN or out of memory, what was learnt is written."""
        main = self.accelerator.is_main_process
        if main and self.about_schedule:
            observer.note(self.about_schedule)
        recomputing = recomputed_blocks if self.settings.gradient_checkpointing else contextlib.nullcontext
        log = tracked(self.accelerator, self.folder, self.settings, self.state.step)
        with recomputing(self.objective.unet), log as note, contextlib.closing(self._batches()) as batches:
            try:
                while self.state.step < self.settings.steps:
                    rate, loss = self.state.learning_rate, self._gradients(batches)
                    self.state.update()
                    note(self.state.step, loss, rate)
                    if main:
                        observer.step(self.state.step, loss)
                        self._write_what_is_due()
                        self._sample(observer)
                    if self._any(observer.should_stop()):
                        raise TrainingStopped(f"Stopped at step {self.state.step} of {self.settings.steps}.")
            except (TrainingDiverged, TrainingOutOfMemory, torch.OutOfMemoryError):
                raise
            except (Exception, comfy.model_management.InterruptProcessingException):  # no Exception in newer ComfyUI
                self._keep()
                raise
            self._keep()
        if main and self.state.skipped:
            observer.note(
                f"{self.state.skipped} of {self.state.step} steps changed nothing, for their gradients were too large "
                "for float16; a few are usual."
            )

    def _gradients(self, batches: Iterator[Batch]) -> float:
        """Set the gradients of one step; returns the loss, the mean over all processes.

        Raises:
            TrainingDiverged: they are not finite; the weights are still good.
        """
        self.state.optimizer.zero_grad(set_to_none=True)
        count = self.settings.gradient_accumulation
        total = torch.zeros((), device=self.objective.device)
        for number in range(count):
            last = number == count - 1
            with contextlib.nullcontext() if last else self.accelerator.no_sync(self.forward):
                batch = next(batches)
                self.objective.stay()
                device = self.objective.device
                keys_values = self.forward(batch.quality.to(device), batch.keep.to(device))
                loss = self.objective.loss(keys_values, batch) / count
                self.state.scaler.scale(loss).backward()
            total += loss.detach()
        self.state.scaler.unscale_(self.state.optimizer)
        largest = self.settings.gradient_clip or float("inf")
        norm = torch.nn.utils.clip_grad_norm_(self.state.adapter.parameters(), largest)
        mean = self.accelerator.reduce(total, "mean")
        skipping = self.state.may_skip and not norm.isfinite()
        if not (skipping or (mean.isfinite() and norm.isfinite())):
            self._refuse(mean.item(), norm.item())
        return mean.item()

    def _write_what_is_due(self) -> None:
        step, settings = self.state.step, self.settings
        if step % settings.checkpoint_interval == 0:
            self._save()
        if settings.adapter_interval and step % settings.adapter_interval == 0:
            (self.folder / KEPT).mkdir(exist_ok=True)
            save_adapter(self.adapter(), self.folder / KEPT / f"{step:06d}.safetensors")

    def _sample(self, observer: Observer) -> None:
        interval, step = self.settings.sample_interval, self.state.step
        if interval and (step % interval == 0 or step == self.settings.steps):
            with torch.no_grad():
                observer.sample(step, self.adapter())
            self.objective.load()

    def _any(self, mine: bool) -> bool:
        """Whether any process says so, which all of them learn."""
        votes = torch.tensor(float(mine), device=self.objective.device)
        return self.accelerator.reduce(votes, "sum").item() > 0

    def _refuse(self, loss: float, norm: float) -> None:
        good = "There is no checkpoint yet"
        if has_checkpoint(self.folder):
            good = f"The last good checkpoint is kept in {self.folder / CHECKPOINT}"
        raise TrainingDiverged(
            f"Training diverged at step {self.state.step + 1}: loss {loss:g}, norm of its gradient {norm:g}. "
            f"{good}. Lower learning_rate, set gradient_clip (1 is usual), or use precision float32."
        )

    def _batches(self) -> Iterator[Batch]:
        begin, end = (step * self.state.samples_per_step for step in (self.state.step, self.settings.steps))
        return self.stream.batches(begin, end, self.accelerator.process_index, self.accelerator.num_processes)

    def _save(self) -> None:
        self.state.save(self.folder)

    def _keep(self) -> None:
        """The checkpoint, and the adapter as far as it has learnt."""
        if self.accelerator.is_main_process:
            self._save()
            save_adapter(self.adapter(), self.folder / RESULT)


def check(model: ModelPatcher, data: TrainingData, settings: TrainingSettings) -> None:
    """Refuse data that the model or the metadata cannot take, by its first item, and settings that cannot be met.

    It is for before any work.

    Raises:
        ValueError: it cannot, or the model has no cross-attention or layers that no gradient passes.
        ImportError: a package that the settings ask for is missing.
    """
    check_tracker(settings.tracker)
    check_weighting(model, settings.min_snr_gamma)
    check_backward(model)
    if not len(data.items):
        raise ValueError("The training set is empty.")
    base = model.model
    found = sites(base.diffusion_model)
    item, values = data.item(0), data.metadata.quality_width
    latents, width = base.latent_format, found[0].text_width
    channels, sides = latents.latent_channels, 1 + latents.latent_dimensions
    if item["latent"].ndim != sides or len(item["latent"]) != channels:
        raise ValueError(
            f"The training set's latents have the shape {tuple(item['latent'].shape)}; the model needs "
            f"({channels}, {'frames, ' * (sides == 4)}height, width). Encode the pictures with the model's own VAE."
        )
    if item["quality"].ndim != 1 or len(item["quality"]) != (values or len(item["quality"])):
        raise ValueError(
            f"The training set's quality input has the shape {tuple(item['quality'].shape)}; the metadata names "
            f"{values} values."
        )
    for name, text in (("The training set's text", item), ("The empty prompt", data.empty_text)):
        if text["text"].ndim != 2 or text["text"].shape[1] != width:
            raise ValueError(
                f"{name} has embeddings of the shape {tuple(text['text'].shape)}; the model needs (tokens, {width}). "
                "Encode it with the model's own text encoder."
            )
        if (base.adm_channels or _needs_pooled(base)) and text.get("pooled") is None:
            raise ValueError(f"{name} has no pooled embedding, which this model needs (`pooled`).")


def _needs_pooled(base: BaseModel) -> bool:
    """Flux and HiDream have an embedding for it, of which ComfyUI keeps no width."""
    model = base.diffusion_model
    return getattr(model, "vector_in", None) is not None or hasattr(model, "p_embedder")
