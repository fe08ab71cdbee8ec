"""MODEL, scored pictures -> adapter, in the graph."""

from __future__ import annotations

import logging
import time
from pathlib import Path

import comfy.model_management
import comfy.sd
import comfy.utils
import torch
from comfy.model_patcher import ModelPatcher
from comfy_api.latest import io, ui
from PIL import Image

from ..adapter.adapter import Adapter
from ..figures.curve import plot_losses
from ..optional import needed
from ..pictures.reading import find_pictures
from ..training.checked_settings import parse_mapping
from ..training.encoder import Models
from ..training.observer import Observer
from ..training.run import Run, own_size, train_on_pictures
from ..training.settings import DataSettings, RunSettings
from ..training.state import has_checkpoint, steps_done
from ..training.table import ScoredTable
from ..training.tracking import read_losses
from .schema import IQAAdapterType, advanced, schema
from .score_dataset import in_input_folder, named, pictures_input

PREVIEW_SIDE = 512  # pixels
SMOOTHED = 50  # steps, of which the loss in the result is the mean


class IQAAdapterTrain(io.ComfyNode):
    """MODEL, CLIP, VAE + scored pictures -> IQA_ADAPTER, loss plot, path."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="IQAAdapterTrain",
            display_name="Train IQA-Adapter",
            category="training",
            search_aliases=["train quality adapter", "finetune iqa adapter", "training"],
            description="Trains an adapter for the connected checkpoint, which stays as it is. A cancelled training "
            "keeps what it has; queue it again and it goes on. The result is in the list of Load IQA-Adapter.",
            inputs=[
                io.Model.Input("model", tooltip="SD1.5, SD2, SDXL or a relative; LoRAs on it count as part of it."),
                io.Clip.Input("clip", tooltip="Its text encoder."),
                io.Vae.Input("vae", tooltip="Its VAE."),
                pictures_input(),
                io.String.Input("table", force_input=True, tooltip="Their scores or activations, from Score Dataset."),
                io.String.Input("name", default="my_adapter", tooltip="Of the file in models/iqa_adapter/."),
                io.Int.Input("steps", default=2000, min=1, max=10_000_000, tooltip="Optimiser steps in all."),
                io.Int.Input(
                    "batch_size", default=4, min=1, max=4096, tooltip="Pictures per step; less needs less memory."
                ),
                io.Float.Input(
                    "learning_rate",
                    default=1e-4,
                    min=1e-7,
                    max=1.0,
                    step=1e-6,
                    round=False,
                    tooltip="Of the first 80 % of the steps, then a tenth of it. 0.0001 is the paper's.",
                ),
                io.Int.Input(
                    "resolution",
                    default=DataSettings.resolution,
                    min=64,
                    max=4096,
                    step=8,
                    tooltip="Side of the training pictures in pixels: 512 for SD1.5, 1024 for SDXL. The quickstart "
                    "takes its own 64 where this is left at 512.",
                ),
                io.Int.Input("seed", default=0, min=0, max=2**32 - 1, tooltip="Of order, noise and first weights."),
                io.Int.Input(
                    "sample_interval",
                    default=200,
                    min=0,
                    max=1_000_000,
                    tooltip="Steps between previews at the percentiles 1, 50 and 99; 0 for none.",
                ),
                advanced(
                    io.Boolean.Input(
                        "gradient_checkpointing",
                        default=False,
                        optional=True,
                        tooltip="Less memory, about a third slower.",
                    )
                ),
                advanced(
                    io.Boolean.Input(
                        "anew",
                        default=False,
                        optional=True,
                        tooltip="Forget what an earlier run of this name learnt.",
                    )
                ),
                advanced(
                    io.String.Input(
                        "settings",
                        default="",
                        optional=True,
                        multiline=True,
                        placeholder="tokens: 4\nprojection: mlp\nbuckets: true",
                        tooltip="Further settings in YAML, one a line; they win over the inputs. `python iqa.py "
                        "train --settings` in the pack's folder prints all of them with what they mean.",
                    )
                ),
                IQAAdapterType.Input(
                    "initial", optional=True, tooltip="Adapter to start from, instead of the model's own attention."
                ),
            ],
            outputs=[
                IQAAdapterType.Output(display_name="iqa_adapter", tooltip="The trained adapter."),
                io.Image.Output(display_name="loss_plot", tooltip="Loss by step."),
                io.String.Output(display_name="path", tooltip="File of the adapter."),
            ],
            hidden=[io.Hidden.unique_id],
            is_output_node=True,
        )

    @classmethod
    def validate_inputs(cls, name: str = "") -> bool | str:
        return named(name)

    @classmethod
    def execute(
        cls,
        model: ModelPatcher,
        clip: comfy.sd.CLIP,
        vae: comfy.sd.VAE,
        pictures: str,
        table: str,
        name: str,
        steps: int,
        batch_size: int,
        learning_rate: float,
        resolution: int,
        seed: int,
        sample_interval: int,
        gradient_checkpointing: bool = False,
        anew: bool = False,
        settings: str = "",
        initial: Adapter | None = None,
    ) -> io.NodeOutput:
        with needed("matplotlib"):  # draws the losses at the end, when it would be a pity to learn that it is missing
            import matplotlib.figure  # noqa: F401
        given = {
            "steps": steps,
            "batch_size": batch_size,
            "learning_rate": learning_rate,
            "late_learning_rate": learning_rate / 10,
            "resolution": resolution,
            "bucket_step": min(64, resolution),
            "seed": seed,
            "sample_interval": sample_interval,
            "gradient_checkpointing": gradient_checkpointing,
        }
        # the default size is nobody's choice
        own = own_size(model) if resolution == DataSettings.resolution else {}
        chosen = RunSettings.from_mapping(given | own | parse_mapping(settings, "settings"), "settings")
        run = Run.named(name, chosen, anew=anew, initial=initial)
        show = _Show(chosen.training.steps, cls.hidden.unique_id)
        found = find_pictures(in_input_folder(pictures))
        try:
            with torch.inference_mode(False):
                adapter = train_on_pictures(Models(model, clip, vae), found, ScoredTable.read(table), run, show)
        except comfy.model_management.InterruptProcessingException:
            show.say(_what_is_kept(run))
            raise
        steps, losses = read_losses(run.folder)
        last = losses[-SMOOTHED:]
        show.say(f"{chosen.training.steps} steps done, loss {sum(last) / max(1, len(last)):.4f}: {run.target}")
        plot = plot_losses(steps, losses, f"{name}, {chosen.training.steps} steps")
        return io.NodeOutput(
            adapter, plot, str(run.target), ui=ui.PreviewImage(plot, cls=cls).as_dict() | {"text": show.said}
        )


def _what_is_kept(run: Run) -> str:
    """Of a run that was cancelled, and how to go on."""
    if not has_checkpoint(run.folder):
        return "Cancelled before the first step; pictures that were prepared are kept. Queue it again to go on."
    return (
        f"Cancelled at step {steps_done(run.folder)} of {run.settings.training.steps}. What was learnt is kept, as the "
        f"adapter {run.target.name}, too; queue it again to go on from there."
    )


class _Show(Observer):
    """Progress of the training at the node: bar, loss, time left, samples. Cancelling acts between two steps.

    Attributes:
        said: sentences for the user, the last one is the result.
    """

    def __init__(self, steps: int, node_id: str):
        from server import PromptServer  # there is none where only the pack's rooms are used

        self.said: list[str] = []
        self._server = PromptServer.instance
        self._steps, self._node_id = steps, node_id
        self._bar: comfy.utils.ProgressBar | None = None
        self._first: tuple[int, float] | None = None

    def preparing(self, total: int) -> comfy.utils.ProgressBar:
        self._show("preparing the pictures")
        return comfy.utils.ProgressBar(total, self._node_id)

    def step(self, step: int, loss: float) -> None:
        """Show loss and time left.

        Raises:
            InterruptProcessingException: the user cancelled.
        """
        first, begin = self._first = self._first or (step, time.monotonic())
        self._bar = self._bar or comfy.utils.ProgressBar(self._steps, self._node_id)
        self._bar.update_absolute(step)
        text = f"step {step} of {self._steps}, loss {loss:.4f}"
        if step > first:
            left = (time.monotonic() - begin) / (step - first) * (self._steps - step)
            text += f", {_duration(left)} left"
        self._show(text)
        comfy.model_management.throw_exception_if_processing_interrupted()

    def sheet(self, step: int, picture: Path) -> None:
        with Image.open(picture) as image:
            self._bar.update_absolute(step, preview=("JPEG", image.convert("RGB"), PREVIEW_SIDE))

    def note(self, text: str) -> None:
        self.say(text)

    def say(self, text: str) -> None:
        """Show a sentence that stays: at the node, in the log, and in the result."""
        self.said.append(text)
        logging.info(text)
        self._show(text)

    def _show(self, text: str) -> None:
        self._server.send_progress_text(text, self._node_id)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
