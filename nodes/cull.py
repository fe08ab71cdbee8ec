"""Folder of pictures + IQA_MODELs -> the best of them."""

from __future__ import annotations

from pathlib import Path

import folder_paths
import torch
import torch.nn.functional as F
from comfy_api.latest import io, ui
from torch import Tensor

from ..figures.grid import labelled_grid
from ..iqa_models.culling import Culled, cull, write_culled
from ..iqa_models.loading import IQAModel
from ..iqa_models.ranking import COUNT, SHARE, THRESHOLD, check_selection
from ..iqa_models.scoring import Scores
from ..pictures.reading import Found, find_pictures, left_out
from ..printable import shown
from ..quality.resize import AS_IS, RESIZES
from .answers import first_problem, named
from .picture_folders import (
    AS_WRITTEN,
    checked_folder,
    chosen_folder,
    folder_fingerprint,
    folder_input,
    pictures_input,
)
from .schema import IQAModelType, IQAScoresType, further_metrics, resize_input, schema

LIST, COPY = "list", "copy"
CULLED = "iqa_culled"  # subfolder of ComfyUI's output folder
SHEET, SIDE = 12, 192  # best and worst pictures of the contact sheet, and side of each in pixels


class IQACullFolder(io.ComfyNode):
    """Folder of pictures + IQA_MODELs -> table, contact sheet, and copies of the best."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="IQACullFolder",
            display_name="Cull Folder",
            category="scoring",
            search_aliases=["cull", "sort pictures", "filter dataset", "best pictures", "rank folder", "contact sheet"],
            description="Ranks a folder of pictures by their quality, and lists or copies the best of them to a new "
            "folder with a CSV table. Nothing is ever moved or deleted.",
            inputs=[
                pictures_input(),
                IQAModelType.Input("iqa_model", tooltip="The metric, from Load IQA Model; a threshold is of this one."),
                *further_metrics("model", "A further metric; all of them count alike."),
                io.Combo.Input(
                    "keep",
                    options=[SHARE, COUNT, THRESHOLD],
                    tooltip="Which pictures are kept: the best share of all, a number of them, or those that are at "
                    "least as good as a raw score of iqa_model.",
                ),
                io.Float.Input(
                    "share",
                    default=0.5,
                    min=0.0,
                    max=1.0,
                    step=0.05,
                    round=0.001,
                    display_mode=io.NumberDisplay.slider,
                    tooltip="Part of the pictures that is kept, 0 to 1. Acts where keep is best share.",
                ),
                io.Int.Input(
                    "count", default=100, min=1, max=1_000_000, tooltip="So many are kept. Acts where keep is count."
                ),
                io.Float.Input(
                    "threshold",
                    default=0.5,
                    min=-1000.0,
                    max=1000.0,
                    step=0.01,
                    round=0.0001,
                    tooltip="Raw score of iqa_model; pictures that are better are kept, in its own direction. Acts "
                    "where keep is threshold.",
                ),
                io.Combo.Input(
                    "action",
                    options=[LIST, COPY],
                    tooltip="list writes the table alone; copy also copies what is kept, with its captions.",
                ),
                resize_input(
                    "as is: the pictures in their own size. 512: scaled to 512x512 pixels first, which is faster for "
                    "large photos and makes sizes comparable. 64: the size of the quickstart.",
                    RESIZES,
                    AS_IS,
                ),
                io.String.Input(
                    "name",
                    default="best",
                    tooltip=f"Of the new folder in ComfyUI's output/{CULLED}/; a number is added.",
                ),
                folder_input(),
            ],
            outputs=[
                io.String.Output(display_name="table", tooltip="What is kept, best first, and the numbers."),
                io.Image.Output(display_name="contact_sheet", tooltip=f"The {SHEET} best and the {SHEET} worst."),
                io.String.Output(
                    display_name="folder", tooltip="The new folder with scores.csv and, for copy, the pictures."
                ),
                IQAScoresType.Output(display_name="iqa_scores", tooltip="Scores of all pictures, by name."),
                io.Int.Output(display_name="kept", tooltip="How many pictures are kept."),
            ],
            is_output_node=True,
        )

    @classmethod
    def validate_inputs(cls, name: str = "", pictures: str | None = None, folder: str = AS_WRITTEN) -> bool | str:
        return first_problem(named(name), checked_folder(pictures, folder))

    @classmethod
    def fingerprint_inputs(cls, pictures: str | None = None, folder: str = AS_WRITTEN, **_inputs) -> str:
        return folder_fingerprint(pictures, folder)

    @classmethod
    def execute(
        cls,
        pictures: str,
        iqa_model: IQAModel,
        keep: str,
        share: float,
        count: int,
        threshold: float,
        action: str,
        protocol: str,
        name: str,
        model_2: IQAModel | None = None,
        model_3: IQAModel | None = None,
        model_4: IQAModel | None = None,
        folder: str = AS_WRITTEN,
    ) -> io.NodeOutput:
        check_selection(keep, share)
        output = Path(folder_paths.get_output_directory())
        found = find_pictures(chosen_folder(pictures, folder))
        ours = [picture for picture in found if output / CULLED not in picture.file.parents] or found
        models = [model for model in (iqa_model, model_2, model_3, model_4) if model is not None]
        culled = cull(ours, models, protocol, (keep, share, count, threshold))
        place = _new_folder(output / CULLED, name)
        write_culled(culled, place, action == COPY)
        sheet, kept = _sheet(culled), int(culled.kept.sum())
        table = "\n".join([_summary(culled, len(found)), *_lines(culled), *_not_scored(culled, found), _written(place)])
        shown = {**ui.PreviewImage(sheet, cls=cls).as_dict(), "text": [table]}
        return io.NodeOutput(table, sheet, str(place), culled.scores, kept, ui=shown)


def _new_folder(root: Path, name: str) -> Path:
    """A folder that is not there yet."""
    number = 1
    while (place := root / f"{name}_{number:05}").exists():
        number += 1
    return place


def _written(place: Path) -> str:
    return f"written to {CULLED}/{place.name} in the output folder"


def _summary(culled: Culled, found: int) -> str:
    return f"{int(culled.kept.sum())} of {found} pictures are kept, by {', '.join(culled.scores.metrics)}"


def _lines(culled: Culled) -> list[str]:
    """The first of those that are kept, best first."""
    chosen = [number for number in culled.order if culled.kept[number]]
    lines = [f"{rank}. {shown(culled.pictures[number].key)}  {_numbers(culled.scores, number)}"
             for rank, number in enumerate(chosen[:SHEET], 1)]  # fmt: skip
    return lines + ([f"... {len(chosen) - SHEET} more"] if len(chosen) > SHEET else [])


def _not_scored(culled: Culled, found: Found) -> list[str]:
    lines = [f"{len(culled.left_out)} could not be scored: {'; '.join(culled.left_out[:3])}"] if culled.left_out else []
    return lines + left_out(found)


def _sheet(culled: Culled) -> Tensor:
    """The best and the worst pictures, each in a square of its own."""
    order = culled.order
    chosen = order if len(order) <= 2 * SHEET else order[:SHEET] + order[-SHEET:]
    captions = [
        f"{order.index(number) + 1}. {'kept' if culled.kept[number] else 'left'}\n{_numbers(culled.scores, number)}"
        for number in chosen
    ]
    squares = torch.cat([_square(culled.pictures[number].read()) for number in chosen])
    return labelled_grid(squares, captions, min(6, len(chosen)), 1)


def _square(image: Tensor) -> Tensor:
    """``[H, W, 3]`` -> ``[1, SIDE, SIDE, 3]``: the whole picture in the middle of white."""
    height, width = image.shape[:2]
    factor = SIDE / max(height, width)
    size = max(1, round(height * factor)), max(1, round(width * factor))
    small = F.interpolate(image.movedim(-1, 0)[None], size, mode="bilinear", antialias=True)
    down, across = SIDE - size[0], SIDE - size[1]
    return F.pad(small, (across // 2, across - across // 2, down // 2, down - down // 2), value=1.0).movedim(1, -1)


def _numbers(scores: Scores, number: int) -> str:
    row = scores.values[number].tolist()
    return ", ".join(f"{name} {value:.3g}" for name, value in zip(scores.metrics, row, strict=True))
