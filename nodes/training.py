"""Pictures -> table of their scores -> adapter, in the graph."""

from __future__ import annotations

import time
from pathlib import Path

import comfy.model_management
import comfy.sd
import comfy.utils
import folder_paths
import torch
from comfy.model_patcher import ModelPatcher
from comfy_api.latest import io, ui
from PIL import Image

from ..adapter.adapter import Adapter
from ..figures.curve import plot_losses
from ..iqa_models.loading import IQAModel
from ..optional import needed
from ..pictures.reading import find_pictures
from ..quality.resize import RESIZES
from ..training.checked import parse_mapping
from ..training.run import RunSettings, train_on_pictures
from ..training.score_set import score_dataset
from ..training.state import CHECKPOINT, read_losses
from ..training.table import ScoredTable
from .schema import IQAAdapterType, IQAModelType, advanced, resize_input, schema

SCORES, ACTIVATIONS = "scores", "activations"
TABLES, RUNS = "iqa_tables", "iqa_training"  # subfolders of ComfyUI's output folder
PREVIEW_SIDE = 512  # pixels


class IQAScoreDataset(io.ComfyNode):
    """Folder of pictures + IQA_MODELs -> path of the table."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="IQAScoreDataset",
            display_name="Score Dataset",
            category="training",
            search_aliases=["score folder", "rate dataset", "iqa table", "training data quality"],
            description="Scores a folder of pictures, which Train IQA-Adapter then learns from. Goes on where it was "
            "after an interruption, and adds pictures that came later.",
            inputs=[
                _pictures_input(),
                IQAModelType.Input("iqa_model", tooltip="The metric, from Load IQA Model."),
                *[
                    IQAModelType.Input(f"model_{number}", optional=True, tooltip="A further metric; for scores only.")
                    for number in (2, 3, 4)
                ],
                io.Combo.Input(
                    "kind",
                    options=[SCORES, ACTIVATIONS],
                    tooltip="scores: for an adapter with a quality slider. activations: for one that follows a "
                    "reference picture; of one IQA model.",
                ),
                resize_input(
                    "512: pictures are scaled to 512x512 pixels first, as for the released adapters. as is: in their "
                    "own size. 64: the size of the quickstart. The adapter remembers it.",
                    RESIZES,
                    "512",
                ),
                io.String.Input(
                    "name", default="my_pictures", tooltip=f"Of the table: a folder in ComfyUI's output/{TABLES}/."
                ),
            ],
            outputs=[
                io.String.Output(display_name="table", tooltip="Folder of the table, for Train IQA-Adapter."),
                io.String.Output(display_name="summary", tooltip="What the table holds."),
            ],
            is_output_node=True,
        )

    @classmethod
    def validate_inputs(cls, name: str = "") -> bool | str:
        return _file_name(name)

    @classmethod
    def fingerprint_inputs(cls, pictures: str = "", **_inputs) -> int:
        folder = _in_input_folder(pictures)
        return folder.stat().st_mtime_ns if folder.exists() else 0

    @classmethod
    def execute(
        cls,
        pictures: str,
        iqa_model: IQAModel,
        kind: str,
        protocol: str,
        name: str,
        model_2: IQAModel | None = None,
        model_3: IQAModel | None = None,
        model_4: IQAModel | None = None,
    ) -> io.NodeOutput:
        found = find_pictures(_in_input_folder(pictures))
        models = [model for model in (iqa_model, model_2, model_3, model_4) if model is not None]
        folder = _output_folder(TABLES, name)
        score_dataset(found, models, folder, kind == ACTIVATIONS, protocol, progress=comfy.utils.ProgressBar)
        table = ScoredTable.read(folder)
        summary = f"{len(table.rows.keys)} of {len(found)} pictures: {table.contents}"
        return io.NodeOutput(str(folder), summary, ui={"text": [f"{summary}\n{folder}"]})


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
                _pictures_input(),
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
                    default=512,
                    min=64,
                    max=4096,
                    step=8,
                    tooltip="Side of the training pictures in pixels: 512 for SD1.5, 1024 for SDXL, 64 for the "
                    "quickstart.",
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
                        tooltip="Further settings in YAML, one a line; they win over the inputs. All of them are in "
                        "the examples of the pack's training/examples/.",
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
        return _file_name(name)

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
        chosen = RunSettings.from_mapping(given | parse_mapping(settings, "settings"), "settings")
        folder = _output_folder(RUNS, name)
        target = Path(folder_paths.get_folder_paths("iqa_adapter")[0]) / f"{name}.safetensors"
        if anew:
            (folder / CHECKPOINT).unlink(missing_ok=True)
        show = _Show(chosen.training.steps, cls.hidden.unique_id)
        with torch.inference_mode(False):
            adapter = train_on_pictures(
                (model, clip, vae), find_pictures(_in_input_folder(pictures)), ScoredTable.read(table), chosen, folder,
                target, preparing=comfy.utils.ProgressBar, progress=show.step, initial=initial, show=show.sample,
            )  # fmt: skip
        plot = plot_losses(*read_losses(folder), f"{name}, {chosen.training.steps} steps")
        return io.NodeOutput(adapter, plot, str(target), ui=ui.PreviewImage(plot, cls=cls))


class _Show:
    """Progress of the training at the node: bar, loss, time left, samples. Cancelling acts between two steps."""

    def __init__(self, steps: int, node_id: str):
        from server import PromptServer  # there is none where only the pack's rooms are used

        self._server = PromptServer.instance
        self._steps, self._node_id = steps, node_id
        self._bar = comfy.utils.ProgressBar(steps, node_id)
        self._first: tuple[int, float] | None = None

    def step(self, step: int, loss: float) -> None:
        """
        Raises:
            InterruptProcessingException: the user cancelled.
        """
        first, begin = self._first = self._first or (step, time.monotonic())
        self._bar.update_absolute(step)
        text = f"step {step} of {self._steps}, loss {loss:.4f}"
        if step > first:
            left = (time.monotonic() - begin) / (step - first) * (self._steps - step)
            text += f", {_duration(left)} left"
        self._server.send_progress_text(text, self._node_id)
        comfy.model_management.throw_exception_if_processing_interrupted()

    def sample(self, step: int, picture: Path) -> None:
        with Image.open(picture) as image:
            self._bar.update_absolute(step, preview=("JPEG", image.convert("RGB"), PREVIEW_SIDE))


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def _pictures_input() -> io.String.Input:
    return io.String.Input(
        "pictures",
        default="",
        placeholder="/data/photos",
        tooltip="Folder of pictures with captions (name.txt beside name.png, or metadata.jsonl) or of WebDataset .tar "
        "shards; a path, or a folder in ComfyUI's input folder.",
    )


def _in_input_folder(given: str) -> Path:
    """Absolute paths as they are, others below ComfyUI's input folder.

    Raises:
        ValueError: nothing is given.
    """
    if not given.strip():
        raise ValueError("pictures is empty: name a folder of pictures with captions.")
    return Path(folder_paths.get_input_directory()) / Path(given.strip()).expanduser()


def _output_folder(kind: str, name: str) -> Path:
    return Path(folder_paths.get_output_directory()) / kind / name


def _file_name(name: str) -> bool | str:
    """True if the text can name a file or folder of its own, else what is wrong with it."""
    if name and name == Path(name).name and name not in (".", "..") and not set(name) & set('<>:"\\|?*'):
        return True
    return f"name must be a plain file name, without folders, not {name!r}."
