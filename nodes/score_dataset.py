"""Pictures -> table of their scores or activations."""

from __future__ import annotations

from pathlib import Path

import comfy.utils
import folder_paths
from comfy_api.latest import io

from ..iqa_models.loading import IQAModel
from ..pictures.reading import find_pictures, fingerprint, left_out
from ..quality.resize import RESIZES
from ..training.names import check_name
from ..training.score_set import Scorer, score_dataset
from ..training.table import ScoredTable
from .schema import IQAModelType, resize_input, schema

SCORES, ACTIVATIONS = "scores", "activations"
TABLES = "iqa_tables"  # subfolder of ComfyUI's output folder


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
                pictures_input(),
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
        return named(name)

    @classmethod
    def fingerprint_inputs(cls, pictures: str = "", **_inputs) -> str:
        return fingerprint(in_input_folder(pictures))

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
        found = find_pictures(in_input_folder(pictures))
        models = [model for model in (iqa_model, model_2, model_3, model_4) if model is not None]
        folder = Path(folder_paths.get_output_directory()) / TABLES / name
        score_dataset(found, Scorer(models, protocol, kind == ACTIVATIONS), folder, progress=comfy.utils.ProgressBar)
        table = ScoredTable.read(folder)
        summary = f"{len(table.rows.keys)} of {len(found)} pictures: {table.contents}"
        text = "\n".join([summary, *left_out(found), str(folder)])
        return io.NodeOutput(str(folder), summary, ui={"text": [text]})


def pictures_input() -> io.String.Input:
    return io.String.Input(
        "pictures",
        default="",
        placeholder="/data/photos",
        tooltip="Folder of pictures with captions (name.txt beside name.png, or metadata.jsonl or .csv), of WebDataset "
        ".tar shards or Parquet files with pictures; a path, or a folder in ComfyUI's input folder.",
    )


def in_input_folder(given: str) -> Path:
    """Absolute paths as they are, others below ComfyUI's input folder.

    Raises:
        ValueError: nothing is given.
    """
    if not given.strip():
        raise ValueError("pictures is empty: name a folder of pictures with captions.")
    return Path(folder_paths.get_input_directory()) / Path(given.strip()).expanduser()


def named(name: str) -> bool | str:
    """Answer of ``validate_inputs`` to the name of a table or run."""
    try:
        check_name(name)
    except ValueError as error:
        return str(error)
    return True
