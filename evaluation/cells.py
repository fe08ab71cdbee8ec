"""Pictures, each kept by the digest of all that made it, so that experiments and runs share them.

A picture is a PNG file, written whole or not at all, whose text says in JSON what made it. A run that was killed goes
on with what is there; several processes and machines may fill one folder.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from ..files import Digest, WrongFile, read_json, shown, write_json, written_whole
from ..pictures.picture import UnreadablePicture, read_picture

FACTS = "iqa_evaluation"  # text entry of the PNG


@dataclass(frozen=True)
class Condition:
    """How the base model is changed for some pictures; without arguments it stays as it is.

    Attributes:
        adapter: name in the plan; empty for none.
        strength: lambda.
        start, end: part of the sampling in which the adapter acts, 0…1.
        negative: of the unconditional rows: ``zero``, ``negated`` or ``percentile``, as in Quality Score Conditioning.
        negative_strength: for ``negated`` the factor, for ``percentile`` the percentile.
        tokens: uses only the first so many of the adapter's quality tokens; 0 uses all.
        guide: IQA model by whose gradient the sampling is guided; empty for none.
        scale: of that guidance.
    """

    adapter: str = ""
    strength: float = 1.0
    start: float = 0.0
    end: float = 1.0
    negative: str = "zero"
    negative_strength: float = 0.5
    tokens: int = 0
    guide: str = ""
    scale: float = 0.0


BASE = Condition()


@dataclass(frozen=True)
class Levels:
    """What is asked of a score adapter: percentiles of its technical and of its aesthetic metrics, 0…100."""

    quality: float
    aesthetics: float


@dataclass(frozen=True)
class Kept:
    """A picture that was put into the store as it is: a reference, a clean scene."""

    digest: str


@dataclass(frozen=True)
class Cell:
    """A picture to be sampled.

    Attributes:
        prompt: number of the prompt in the plan.
        seed: of its noise.
        condition: see :class:`Condition`.
        request: levels for a score adapter, a picture for a reference adapter, None without an adapter.
    """

    prompt: int
    seed: int
    condition: Condition = BASE
    request: Levels | Kept | None = None


class Store:
    """A folder of pictures by digest.

    Args:
        counts_only: sets of pictures are counted and not made, for an estimate.
    """

    def __init__(self, folder: Path, counts_only: bool = False):
        self.folder, self.counts_only = folder, counts_only

    def path(self, digest: str) -> Path:
        return self.folder / digest[:2] / f"{digest}.png"

    def __contains__(self, digest: str) -> bool:
        return self.path(digest).is_file()

    def write(self, digest: str, picture: torch.Tensor, facts: dict) -> None:
        """Keep a picture ``[3, H, W]`` in 0…1 with eight bits, as ComfyUI saves it, and what made it."""
        text = PngInfo()
        text.add_text(FACTS, json.dumps(facts))
        with written_whole(self.path(digest)) as temporary:
            Image.fromarray(eight_bits(picture)).save(temporary, "PNG", pnginfo=text)

    def keep(self, picture: torch.Tensor, facts: dict) -> Kept:
        """Keep a picture ``[3, H, W]`` under the digest of its pixels."""
        pixels = eight_bits(picture)
        digest = digest_of({"pixels": hashlib.sha256(pixels.tobytes()).hexdigest(), "shape": pixels.shape})
        if digest not in self:
            self.write(digest, picture, facts)
        return Kept(digest)

    def listed(
        self, identity: dict, groups: Sequence[str], count: int, make: Callable[[], dict[str, list[Kept]]]
    ) -> dict[str, list[Kept]]:
        """A set of kept pictures, from the list of it that is kept beside them; made where one is missing.

        Args:
            identity: all that makes the set.
            groups, count: its groups, and the pictures of each.
            make: makes and keeps them.
        """
        if self.counts_only:
            return {group: [Kept(digest_of([identity, group, i])) for i in range(count)] for group in groups}
        file = self.folder / "sets" / f"{digest_of(identity)}.json"
        found = _list(file)
        if [len(found.get(group, [])) for group in groups] == [count] * len(groups):
            kept = {group: [Kept(digest) for digest in found[group]] for group in groups}
            if all(each.digest in self for pictures in kept.values() for each in pictures):
                return kept
        made = make()
        write_json(file, {group: [kept.digest for kept in pictures] for group, pictures in made.items()})
        return made

    def read(self, digest: str) -> torch.Tensor:
        """``[3, H, W]`` in 0…1.

        Raises:
            ValueError: the file is damaged; it is removed, so that the next run makes it again.
        """
        try:
            return read_picture(self.path(digest)).movedim(-1, 0)
        except UnreadablePicture as error:
            self.path(digest).unlink(missing_ok=True)
            raise ValueError(
                f"{shown(self.path(digest))} was damaged and is removed; start the same command again."
            ) from error

    def facts(self, digest: str) -> dict:
        """What made a picture."""
        with Image.open(self.path(digest), formats=["PNG"]) as image:
            return json.loads(image.text[FACTS])


def _list(file: Path) -> dict[str, list[str]]:
    """Digests by group; empty where the list is missing or damaged."""
    try:
        return read_json(file, dict[str, list[Digest]]) if file.is_file() else {}
    except (WrongFile, OSError):
        return {}


def digest_of(facts: object) -> str:
    """SHA-256 of a JSON form, in hexadecimal."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def eight_bits(picture: torch.Tensor) -> np.ndarray:
    """``[3, H, W]`` in 0…1 -> uint8 ``[H, W, 3]``."""
    return (picture.movedim(0, -1).clamp(0, 1) * 255).round().byte().numpy()
