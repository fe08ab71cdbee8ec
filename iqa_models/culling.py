"""A folder of pictures, scored and ranked; what is kept is copied to a new folder. Nothing is moved or deleted."""

from __future__ import annotations

import csv
import io
import math
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import comfy.utils
import torch
from torch import Tensor

from ..files import shown, write_text, written_whole
from ..pictures.picture import Picture, UnreadablePicture
from ..pictures.pixels import open_image
from ..printable import for_a_file
from .batches import check_images
from .loading import IQAModel
from .ranking import combined_goodness, kept
from .scoring import Scores, best_first, score_images

PIXELS = 2**24  # decoded at a time: 200 MB
TABLE = "scores.csv"


@dataclass(frozen=True, eq=False)
class Culled:
    """Pictures of a folder with their scores.

    Attributes:
        pictures: those that have been scored.
        scores: of them.
        goodness: of them together, see :func:`.ranking.combined_goodness`.
        kept: which of them are kept, ``[pictures]`` of bool.
        left_out: ``name: reason`` of those that could not be scored.
    """

    pictures: tuple[Picture, ...]
    scores: Scores
    goodness: Tensor
    kept: Tensor
    left_out: tuple[str, ...]

    @property
    def order(self) -> list[int]:
        """Numbers of the pictures, best first."""
        return best_first(self.goodness)


def cull(
    pictures: Sequence[Picture],
    models: Sequence[IQAModel],
    resize: str,
    selection: tuple[str, float, int, float],
    progress: comfy.utils.ProgressBar | None = None,
) -> Culled:
    """Score pictures and choose the best.

    Args:
        models: different metrics, which count alike.
        selection: ``select, share, count, threshold`` of :func:`.ranking.kept`.
        progress: advances by one per picture and model.

    Raises:
        ValueError: none of the pictures can be scored.
        comfy.model_management.InterruptProcessingException: the user cancelled.
    """
    progress = progress or comfy.utils.ProgressBar(len(pictures) * len(models))
    scored, values, left_out = [], [], []
    for group in _groups(pictures, models, resize, left_out, progress):
        names = [picture.key for picture, _ in group]
        part = score_images(models, [pixels for _, pixels in group], resize, progress=progress, names=names)
        scored += [picture for picture, _ in group]
        values.append(part.values)
    if not scored:
        raise ValueError(f"None of the {len(pictures)} pictures can be scored: {'; '.join(left_out[:3])}.")
    scores = Scores(tuple(model.entry.name for model in models), torch.cat(values), resize)
    goodness = combined_goodness(scores)
    return Culled(tuple(scored), scores, goodness, kept(scores, goodness, *selection), tuple(left_out))


def write_culled(culled: Culled, folder: Path, copy: bool) -> None:
    """Table of all pictures, and copies of those that are kept with their captions, into a new folder.

    A copy is what the picture's file was, under its own name; names that two of them have in common get a number.

    Raises:
        OSError: the folder is there already, or cannot be written to.
    """
    folder.mkdir(parents=True)
    names = _names(culled) if copy else {}
    write_text(folder / TABLE, _table(culled, names))
    for number, name in names.items():
        picture, target = culled.pictures[number], folder / name
        with written_whole(target) as temporary:
            if picture.size is None and picture.file.suffix.lower() != ".parquet":
                shutil.copyfile(picture.file, temporary)
            else:
                temporary.write_bytes(picture.content())
        if picture.caption is not None:
            write_text(target.with_suffix(".txt"), picture.caption)


def _groups(
    pictures: Sequence[Picture],
    models: Sequence[IQAModel],
    resize: str,
    left_out: list[str],
    progress: comfy.utils.ProgressBar,
) -> Iterator[list[tuple[Picture, Tensor]]]:
    """Pictures with their pixels, so many that memory bears them; those that cannot be scored go to ``left_out``."""
    group, pixels = [], 0
    for picture in pictures:
        try:
            image = picture.read()
            check_images([image], [model.entry for model in models], resize)
        except (UnreadablePicture, ValueError) as error:
            left_out.append(f"{shown(picture.key)}: {shown(str(error).removeprefix(f'{picture.key}: '))}")
            progress.update(len(models))
            continue
        if group and pixels + image[..., 0].numel() > PIXELS:
            yield group
            group, pixels = [], 0
        group.append((picture, image))
        pixels += image[..., 0].numel()
    if group:
        yield group


def _names(culled: Culled) -> dict[int, str]:
    """File names of the copies, by number of the picture; different without regard to capitals, also their captions."""
    names, taken = {}, {TABLE.rpartition(".")[0]}
    for number in culled.order:
        if not culled.kept[number]:
            continue
        picture = culled.pictures[number]
        name = for_a_file(Path(picture.key).name)
        stem, suffix = Path(name).stem, Path(name).suffix or _suffix(picture)
        free, again = stem, 1
        while free.lower() in taken:
            again += 1
            free = f"{stem}_{again}"
        taken.add(free.lower())
        names[number] = free + suffix
    return names


def _suffix(picture: Picture) -> str:
    """Of a picture in a table of pictures, which has no name."""
    with open_image(picture.content()) as image:
        return f".{(image.format or 'png').lower()}".replace(".jpeg", ".jpg")


def _table(culled: Culled, names: dict[int, str]) -> str:
    """A line per picture, best first."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    several = len(culled.scores.metrics) > 1
    writer.writerow(["rank", "file", "kept", *(["copy"] if names else []), *culled.scores.metrics]
                    + (["mean of z-scores"] if several else []))  # fmt: skip
    for rank, number in enumerate(culled.order, 1):
        row = [rank, culled.pictures[number].key, "yes" if culled.kept[number] else "no"]
        row += [names.get(number, "")] if names else []
        row += [_cell(value) for value in culled.scores.values[number].tolist()]
        writer.writerow(row + ([_cell(culled.goodness[number].item())] if several else []))
    for line in culled.left_out:
        writer.writerow(["", line, "not scored"])
    return text.getvalue()


def _cell(value: float) -> str:
    return f"{value:.6g}" if math.isfinite(value) else ""
