"""A set of pictures -> a table of their scores or activations, on one process or many, resumable."""

from __future__ import annotations

import contextlib
import logging
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path

import comfy.model_management
import numpy as np
import torch
from torch import Tensor

from .. import files
from ..iqa_models.batches import check_images, input_size
from ..iqa_models.features import read_layer
from ..iqa_models.loading import IQAModel
from ..iqa_models.scoring import score_images
from ..pictures.found import in_shards, keys, take
from ..pictures.reading import Picture
from ..pictures.scaling import scale
from ..quality.resize import AS_IS
from . import table, unreadable
from .claims import BEAT, SILENCE, Claim, Work
from .making import made_with
from .observer import Progress, Silent
from .pictures_seen import Seen, first_places, hashes, look
from .processes import in_main, is_main, processes
from .reading_ahead import MEMORY, READERS, Reserve, read_ahead
from .refresh import refresh
from .rows import merge, next_number, unanswered
from .table import Contents, Rows
from .table_statistics import forget

SCORING, CLAIMS = "scoring.lock", "claims"  # of a table's folder while it is scored
SHARD = 1000  # pictures; a kill loses what was scored since the last shard, cancelling loses nothing
GROUP = 32  # pictures scored together, those of one size at once
GROUP_SHARE = 0.25  # of the memory for decoded pictures; the rest is for those that are read ahead


def score_dataset(
    pictures: Sequence[Picture],
    scorer: Scorer,
    folder: str | Path,
    progress: Callable[[int], Progress] = lambda total: Silent(),
    shard_size: int = SHARD,
    note: Callable[[str], None] = logging.info,
) -> Path:
    """Score pictures, or go on scoring.

    Under ``accelerate launch`` or ``torchrun`` every process calls it with the same pictures. Each begins with parts of
    its own, which never reach from one shard of the set into the next, and goes on with what others have left; parts of
    a process that died are taken by the rest, see :mod:`.claims`. What is in the table already is skipped, so a killed
    run goes on, and pictures that came later are added. Rows of pictures that were renamed, replaced or deleted since
    are found, see :mod:`.refresh`. Pictures that cannot be read or are too small for a model are skipped and listed in
    ``unreadable.txt``; so are those for which a model has no answer, which have a row with NaN.

    Args:
        scorer: what is measured.
        folder: of the table, see :mod:`.table`.
        progress: makes the bar of this process from its number of pictures times models.
        note: is told what has changed since the table was begun.

    Returns:
        ``folder``.

    Raises:
        ValueError: nothing can be scored, the folder holds another table or one made with other weights, the layer
            gives no vectors, or another launch scores into this table.
    """
    group = processes(cpu=comfy.model_management.get_torch_device().type == "cpu")
    folder = Path(folder)
    contents = scorer.contents(pictures)
    claim = Claim(folder / SCORING)
    try:
        in_main(lambda: _claim(claim, folder))
        notes, left, first = in_main(lambda: _begin(pictures, folder, contents, scorer))
        for text in notes if is_main() else ():
            note(text)
        parts = dict(enumerate(_parts(pictures, left, shard_size), first))
        bar = progress(-(-len(scorer.models) * len(left) // group.num_processes))
        start = group.process_index * len(parts) // group.num_processes
        with contextlib.closing(Work(folder / CLAIMS, list(parts), start).parts()) as work:
            for number, may_write in work:
                scorer.write_shard(parts[number], folder, number, bar, may_write)
        group.wait_for_everyone()
        in_main(lambda: _finish(pictures, folder, scorer))
    finally:
        claim.release()
    return folder


class Scorer:
    """IQA models and how they are asked.

    Args:
        models: one column each; for ``features`` exactly one.
        resize: how pictures are scaled, see :mod:`..quality.resize`.
        features: take activations in place of scores.
        layer, pooling: of activations, see :func:`..iqa_models.features.extract_features`.
        memory: bytes of decoded pictures that wait to be scored, about; a larger picture is read alone.

    Raises:
        ValueError: activations of several models.
    """

    def __init__(
        self,
        models: Sequence[IQAModel],
        resize: str = "512",
        features: bool = False,
        layer: str = "",
        pooling: str = "",
        memory: float = MEMORY,
    ):
        if features and len(models) != 1:
            raise ValueError(f"A table of activations is of one IQA model, not of {len(models)}.")
        self.models, self.features, self.resize = models, features, resize
        self.layer, self.pooling, self.memory = layer, pooling, memory
        self.entries = [model.entry for model in models]

    def contents(self, pictures: Iterable[Picture]) -> Contents:
        """What the table will hold; scores the first good picture, so that what cannot work fails at once.

        Raises:
            ValueError: there is no good picture.
        """
        names, problem = tuple(entry.name for entry in self.entries), "there are none"
        for picture in pictures:
            try:
                _, pixels, _ = self.prepare(picture)
            except ValueError as error:
                problem = f"the first one fails with: {error}" if problem == "there are none" else problem
                continue
            _, where = self._measure([pixels], [picture.key], Silent())
            return Contents("reference" if self.features else "score", names, self.resize, *where)
        raise ValueError(f"None of the pictures can be scored; {problem}")

    def prepare(self, picture: Picture, reserve: Reserve = lambda size: None) -> tuple[tuple[int, int], Tensor, Seen]:
        """Width and height of a picture, its pixels ``[H, W, 3]`` after the resize, and what it is.

        Args:
            reserve: see :func:`.reading_ahead.read_ahead`.

        Raises:
            ValueError: it cannot be read or does not suit a model.
        """
        seen = look(picture)  # first: a picture that is replaced meanwhile is found the next time
        values = picture.values(reserve)
        height, width = values.shape[:2]
        pixels = scale(values, input_size(values, self.resize))
        check_images(pixels[None], self.entries, AS_IS)
        reserve(pixels.nbytes)
        return (width, height), pixels, seen

    def write_shard(
        self, pictures: Sequence[Picture], folder: Path, number: int, bar: Progress, may_write: Callable[[], bool]
    ) -> None:
        """Score the pictures that can be; a run that is cancelled in between keeps those that it has.

        Args:
            may_write: whether the shard is still this process's.
        """
        rows: list[tuple[str, tuple[int, int], Tensor, Seen]] = []
        room = (1 - GROUP_SHARE) * self.memory
        try:
            with contextlib.closing(read_ahead(pictures, self._attempt, READERS, 2 * GROUP, room)) as prepared:
                groups = _groups(prepared, GROUP, GROUP_SHARE * self.memory)
                for scored in map(partial(self._rows, bar=bar), groups):  # keeps no name of a group
                    rows += scored
        finally:
            if rows and may_write():
                keys, sizes, values, seen = zip(*sorted(rows, key=lambda row: row[0]), strict=True)
                shard = Rows(list(keys), torch.tensor(sizes), torch.stack(values), Seen.joined(seen))
                shard.write(folder, number, Contents.read(folder))

    def _attempt(self, picture: Picture, reserve: Reserve) -> tuple[tuple[int, int], Tensor, Seen] | ValueError:
        try:
            return self.prepare(picture, reserve)
        except ValueError as error:
            return error

    def _rows(self, group, bar: Progress) -> list[tuple[str, tuple[int, int], Tensor, Seen]]:
        readable = [(picture.key, *prepared) for picture, prepared in group if not isinstance(prepared, ValueError)]
        bar.update((len(group) - len(readable)) * len(self.models))
        if not readable:
            return []
        keys, sizes, pixels, seen = zip(*readable, strict=True)
        values, _ = self._measure(pixels, keys, bar)
        return list(zip(keys, sizes, values, seen, strict=True))

    def _measure(self, images: Sequence[Tensor], keys: Sequence[str], bar: Progress) -> tuple[Tensor, tuple[str, ...]]:
        """Scores or activations ``[images, m]``, NaN where there are none; of activations also layer and pooling."""
        if self.features:
            model, where = self.models[0], (self.layer, self.pooling)
            values, _, *where = read_layer(model, images, *where, progress=bar, names=keys)
            return values, tuple(where)
        return score_images(self.models, images, progress=bar, names=keys).values, ()


def _groups(prepared: Iterator, size: int, memory: float) -> Iterator[list]:
    """Lists of at most ``size`` pictures that end as soon as they take ``memory`` bytes."""
    group, taken = [], 0
    while (pair := next(prepared, None)) is not None:
        group.append(pair)
        taken += 0 if isinstance(pair[1], ValueError) else pair[1][1].nbytes
        if len(group) == size or taken >= memory:
            del pair
            yield group
            group, taken = [], 0
    if group:
        yield group


def _claim(claim: Claim, folder: Path) -> None:
    """Make sure that no other launch writes into the table.

    Raises:
        ValueError: one does.
    """
    folder.mkdir(parents=True, exist_ok=True)
    begin = time.monotonic()
    while not claim.take():
        if time.monotonic() - begin > SILENCE + BEAT:
            raise ValueError(
                f"Another scoring writes into {folder} ({files.shown(claim.holder)}, see {SCORING} there). Wait for "
                "its end, stop it, or choose another name; to score on several machines, start them together with "
                "accelerate launch or torchrun."
            )
        time.sleep(BEAT / 4)


def _begin(
    pictures: Sequence[Picture], folder: Path, contents: Contents, scorer: Scorer
) -> tuple[list[str], np.ndarray, int]:
    """Begin a table, or get one ready to go on; in the main process only.

    Returns:
        What the user should know, numbers of the pictures without a row, and that of the first shard to write.
    """
    shutil.rmtree(folder / CLAIMS, ignore_errors=True)  # of an earlier launch
    (folder / CLAIMS).mkdir(parents=True)
    contents = made_with(contents, scorer.models)
    contents.write(folder)
    has_rows = bool(table.shards(folder))
    notes, left = refresh(folder, contents, pictures), _left(pictures, folder)
    if len(left):
        forget(folder)
        if contents.add_to(folder) and has_rows:
            notes.append(f"{folder} does not say which weights made its scores; they are taken to be those of today.")
    return notes, left, next_number(folder)


def _left(pictures: Sequence[Picture], folder: Path) -> np.ndarray:
    """Numbers of the pictures without a row."""
    done = hashes(table.keys_in(path) for path in table.shards(folder))
    return np.flatnonzero(first_places(hashes(keys(pictures)), done) < 0)


def _parts(pictures: Sequence[Picture], left: np.ndarray, size: int) -> list[Sequence[Picture]]:
    """Pictures that are left, in parts of at most ``size`` that lie in one shard of the set, or in none."""
    shard = in_shards(take(pictures, left))
    ends = [*(np.flatnonzero(np.diff(shard)) + 1).tolist(), len(left)] if len(left) else []
    parts, start = [], 0
    for end in ends:
        parts += [take(pictures, left[begin : min(begin + size, end)]) for begin in range(start, end, size)]
        start = end
    return parts


def _finish(pictures: Sequence[Picture], folder: Path, scorer: Scorer) -> None:
    """Statistics, and the list of what has no row in the table, or one without a score."""
    shutil.rmtree(folder / CLAIMS, ignore_errors=True)
    merge(folder, Contents.read(folder))
    table.measure(folder)
    lines, left = unanswered(folder), []
    for picture in take(pictures, _left(pictures, folder)):
        try:
            scorer.prepare(picture)
        except ValueError as error:
            lines.append(f"{files.shown(picture.key)}: {files.shown(str(error).removeprefix(f'{picture.key}: '))}")
            left.append(picture)
    lines += getattr(pictures, "left_out", [])
    unreadable.write(folder, lines, left)
