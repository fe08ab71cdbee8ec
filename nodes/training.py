"""MODEL, scored pictures -> adapter, in the graph."""

from __future__ import annotations

import comfy.model_management
import comfy.sd
import comfy.utils
import torch
from comfy.model_patcher import ModelPatcher
from comfy_api.latest import io, ui
from comfy_execution.graph_utils import ExecutionBlocker

from ..adapter.adapter import Adapter
from ..figures.curve import plot_losses
from ..optional import needed
from ..pictures.picture import read_picture
from ..pictures.reading import find_pictures
from ..training.checked_settings import parse_mapping
from ..training.encoder import Models
from ..training.own_size import own_size
from ..training.run import Run, train_on_pictures
from ..training.sampling import newest_sheet
from ..training.settings import RunSettings
from ..training.state import has_checkpoint, steps_done
from ..training.table import ScoredTable
from ..training.tracking import read_losses
from .allowed_folders import allowed_folder
from .answers import first_problem, named
from .picture_folders import AS_WRITTEN, checked_folder, chosen_folder, folder_input, pictures_input
from .schema import IQAAdapterType, advanced, schema
from .training_progress import Watch

SMOOTHED = 50  # steps, of which the loss in the result is the mean
FORMER_DEFAULT = 512  # of resolution
# another seed is another run; ComfyUI 0.3.75 cannot be told and draws a new one after each
FIXED = getattr(getattr(io, "ControlAfterGenerate", None), "fixed", None)
NO_SAMPLES = ExecutionBlocker("Train IQA-Adapter made no samples: set its sample_interval to more than 0.")


class IQAAdapterTrain(io.ComfyNode):
    """MODEL, CLIP, VAE + scored pictures -> IQA_ADAPTER, loss plot, path, samples."""

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
                    default=0,
                    min=0,
                    max=4096,
                    step=8,
                    tooltip="Side of the training pictures in pixels; 0 takes the model's own: 512 for SD1.5, 1024 for "
                    "SDXL, 64 for the quickstart.",
                ),
                io.Int.Input(
                    "seed",
                    default=0,
                    min=0,
                    max=2**32 - 1,
                    control_after_generate=FIXED,
                    tooltip="Of order, noise and first weights.",
                ),
                io.Int.Input(
                    "sample_interval",
                    default=200,
                    min=0,
                    max=1_000_000,
                    tooltip="Steps between sample pictures at the percentiles 1, 50 and 99, which the node shows, and "
                    "the last ones with the result; 0 for none.",
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
                folder_input(),
            ],
            outputs=[
                IQAAdapterType.Output(display_name="iqa_adapter", tooltip="The trained adapter."),
                io.Image.Output(display_name="loss_plot", tooltip="Loss by step."),
                io.String.Output(display_name="path", tooltip="File of the adapter."),
                io.Image.Output(
                    display_name="samples",
                    tooltip="The last samples: a row per prompt, a column per quality; nothing where sample_interval "
                    "is 0.",
                ),
            ],
            hidden=[io.Hidden.unique_id],
            is_output_node=True,
        )

    @classmethod
    def validate_inputs(cls, name: str = "", pictures: str | None = None, folder: str = AS_WRITTEN) -> bool | str:
        return first_problem(named(name), checked_folder(pictures, folder))

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
        folder: str = AS_WRITTEN,
    ) -> io.NodeOutput:
        with needed("matplotlib"):  # draws the losses at the end, when it would be a pity to learn that it is missing
            import matplotlib.figure  # noqa: F401
        given = {
            "steps": steps,
            "batch_size": batch_size,
            "learning_rate": learning_rate,
            "late_learning_rate": learning_rate / 10,
            "seed": seed,
            "sample_interval": sample_interval,
            "gradient_checkpointing": gradient_checkpointing,
        }
        chosen = RunSettings.from_mapping(
            given | _size(model, resolution) | parse_mapping(settings, "settings"), "settings"
        )
        run = Run.named(name, chosen, anew=anew, initial=initial)
        show = Watch(chosen.training.steps, cls.hidden.unique_id)
        found, scores = find_pictures(chosen_folder(pictures, folder)), allowed_folder(table)
        try:
            with torch.inference_mode(False):
                adapter = train_on_pictures(Models(model, clip, vae), found, ScoredTable.read(scores), run, show)
        except comfy.model_management.InterruptProcessingException:
            show.say(_what_is_kept(run))
            raise
        steps, losses = read_losses(run.folder)
        last = losses[-SMOOTHED:]
        show.say(f"{chosen.training.steps} steps done, loss {sum(last) / max(1, len(last)):.4f}: {run.target}")
        plot = plot_losses(steps, losses, f"{name}, {chosen.training.steps} steps")
        samples = _samples(run)
        pictures = [plot] if samples is None else [samples, plot]
        show.last(pictures)
        images = [image for picture in pictures for image in ui.PreviewImage(picture, cls=cls).as_dict()["images"]]
        given = NO_SAMPLES if samples is None else samples
        return io.NodeOutput(adapter, plot, str(run.target), given, ui={"images": images, "text": show.said})


def _size(model: ModelPatcher, resolution: int) -> dict[str, int]:
    """Settings of the size: the model's own unless one was chosen.

    Graphs of version 0.1.0 hold 512 where nobody chose, which a model that is made for less cannot mean.
    """
    own = own_size(model)
    if not resolution or resolution == FORMER_DEFAULT > own["resolution"]:
        return own
    return {"resolution": resolution, "bucket_step": min(64, resolution)}


def _samples(run: Run) -> torch.Tensor | None:
    """The newest sheet ``[1, H, W, 3]``, unless the run is to make none."""
    training = run.settings.training
    sheet = newest_sheet(run.folder, training.steps) if training.sample_interval else None
    return None if sheet is None else read_picture(sheet)[None]


def _what_is_kept(run: Run) -> str:
    """Of a run that was cancelled, and how to go on."""
    if not has_checkpoint(run.folder):
        return "Cancelled before the first step; pictures that were prepared are kept. Queue it again to go on."
    return (
        f"Cancelled at step {steps_done(run.folder)} of {run.settings.training.steps}. What was learnt is kept, as the "
        f"adapter {run.target.name}, too; queue it again to go on from there."
    )
