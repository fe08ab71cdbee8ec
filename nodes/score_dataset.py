"""Pictures -> table of their scores or activations."""

from __future__ import annotations

import logging
from pathlib import Path

import comfy.utils
import folder_paths
from comfy_api.latest import io

from ..iqa_models.loading import IQAModel
from ..pictures.reading import find_pictures, left_out
from ..quality.resize import RESIZES
from ..training.score_set import Scorer, score_dataset
from ..training.table import ScoredTable
from .answers import first_problem, named
from .picture_folders import (
    AS_WRITTEN,
    checked_folder,
    chosen_folder,
    folder_fingerprint,
    folder_input,
    pictures_input,
)
from .reference import AUTO
from .schema import IQAModelType, further_metrics, resize_input, schema

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
                *further_metrics("model", "A further metric; for scores only."),
                io.Combo.Input(
                    "kind",
                    options=[SCORES, ACTIVATIONS],
                    tooltip="scores: for an adapter with a quality slider. activations: for one that follows a "
                    "reference picture; of one IQA model.",
                ),
                resize_input(
                    "512: pictures are scaled to 512x512 pixels first, as for the released adapters. as is: in their "
                    "own size. auto: what iqa_model is used with, 64 for quickstart_iqa and 512 for all others. The "
                    "adapter remembers it.",
                    [*RESIZES, AUTO],
                    AUTO,
                ),
                io.String.Input(
                    "name", default="my_pictures", tooltip=f"Of the table: a folder in ComfyUI's output/{TABLES}/."
                ),
                folder_input(),
            ],
            outputs=[
                io.String.Output(display_name="table", tooltip="Folder of the table, for Train IQA-Adapter."),
                io.String.Output(display_name="summary", tooltip="What the table holds."),
                io.String.Output(display_name="pictures", tooltip="Folder of the pictures, for Train IQA-Adapter."),
            ],
            is_output_node=True,
        )

    @classmethod
    def validate_inputs(cls, name: str = "", pictures: str | None = None, folder: str = AS_WRITTEN) -> bool | str:
        return first_problem(named(name), checked_folder(pictures, folder))

    @classmethod
    def fingerprint_inputs(
        cls, name: str | None = None, pictures: str | None = None, folder: str = AS_WRITTEN, **_inputs
    ) -> tuple[str, int]:
        # None: another node gives it
        return folder_fingerprint(pictures, folder), 0 if name is None else WRITTEN.times_gone(place_of(name))

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
        folder: str = AS_WRITTEN,
    ) -> io.NodeOutput:
        chosen = chosen_folder(pictures, folder)
        found = find_pictures(chosen)
        models = [model for model in (iqa_model, model_2, model_3, model_4) if model is not None]
        resize = iqa_model.entry.resize if protocol == AUTO else protocol
        place, notes = place_of(name), []
        scorer = Scorer(models, resize, kind == ACTIVATIONS)
        score_dataset(found, scorer, place, progress=comfy.utils.ProgressBar, note=notes.append)
        WRITTEN.add(place)
        table = ScoredTable.read(place)
        summary = f"{len(table.rows)} of {len(found)} pictures: {table.contents}"
        for note in notes:
            logging.info(note)
        text = "\n".join([summary, *notes, *left_out(found), str(place)])
        return io.NodeOutput(str(place), summary, str(chosen), ui={"text": [text]})


class Written:
    """Tables that this process has written: one that was deleted since is to be written again."""

    def __init__(self):
        self._there: set[Path] = set()
        self._gone: dict[Path, int] = {}

    def add(self, place: Path) -> None:
        self._there.add(place)

    def times_gone(self, place: Path) -> int:
        """How often the table was found to be gone."""
        if place in self._there and not place.is_dir():
            self._there.remove(place)
            self._gone[place] = self._gone.get(place, 0) + 1
        return self._gone.get(place, 0)


WRITTEN = Written()


def place_of(name: str) -> Path:
    """Folder of the table of that name."""
    return Path(folder_paths.get_output_directory()) / TABLES / name
