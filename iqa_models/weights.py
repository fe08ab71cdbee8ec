"""Weight files of the IQA models: where they are, and what is in them. No code of a pickle ever runs."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from urllib.parse import quote

import folder_paths
import torch

from ..files import FileState, WrongFile, read_tensors, shown

FOLDER = "iqa"  # key of ComfyUI's folder_paths
BLOCK = 2**22  # bytes read at once
WRAPPERS = ("params", "state_dict", "model_state_dict", "model")  # under which training scripts store a state dict


@dataclass(frozen=True)
class WeightFile:
    """A file that an IQA model needs.

    Attributes:
        name: file name, as pyiqa calls it; the same name with ``.safetensors`` is as good.
        source: URL.
        sha256: hexadecimal digest of the file behind ``source``, empty where it is not known.
    """

    name: str
    source: str
    sha256: str = ""


@dataclass(frozen=True)
class LoadedFile(FileState):
    """A weight file as it was when a model was loaded from it."""

    def sha256(self) -> str:
        """Hexadecimal digest, about a second per gigabyte the first time.

        Raises:
            FileNotFoundError: it is gone.
            ValueError: it has changed, so its digest is not that of the model's weights.
        """
        if LoadedFile.at(self.path) != self:
            raise ValueError(f"{shown(self.path)} has changed since the model was loaded from it. Load it again.")
        return _sha256(self)


@cache
def _sha256(file: LoadedFile) -> str:
    digest = hashlib.sha256()
    with file.path.open("rb") as content:
        while block := content.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()


def locate(file: WeightFile) -> Path | None:
    """The file in ``models/iqa/``, else in pyiqa's, torch hub's or CLIP's cache, else None."""
    names = [f"{Path(file.name).stem}.safetensors", file.name]
    candidates = [Path(folder) / name for folder in folder_paths.get_folder_paths(FOLDER) for name in names]
    hub = Path(torch.hub.get_dir())
    for folder in (hub / "pyiqa", hub / "checkpoints", hub / "clip", Path.home() / ".cache" / "clip"):
        candidates += [folder / file.name, folder / quote(file.name)]  # caches keep the name as the URL spells it
    return next((path for path in candidates if path.is_file()), None)


def missing(model: str, files: list[WeightFile]) -> FileNotFoundError:
    """Names the files that a model lacks, their folder and their sources."""
    folder = folder_paths.get_folder_paths(FOLDER)[0]
    sources = " and ".join(f"{file.name} from {file.source}" for file in files)
    return FileNotFoundError(
        f"Weights of {model} are missing: put {sources} into {folder}, or switch download_if_missing on."
    )


def read(path: Path) -> object:
    """Content of a weight file on the CPU, mapped: tensors in dicts, lists or tuples; see :func:`..files.read_tensors`.

    Raises:
        ValueError: the file is incomplete, has code in it, or is something else.
    """
    content = read_tensors(path).content
    if isinstance(content, Mapping) and not all(isinstance(key, str) for key in content):
        raise WrongFile(f"{shown(path)} names its content by numbers, so it holds no weights. Get the right file.")
    return content


def state_dict(content: object, path: Path | str) -> Mapping[str, torch.Tensor]:
    """The state dict in a file's content: without wrappers such as ``params`` and the prefix ``module.``.

    Raises:
        ValueError: there is none.
    """
    while isinstance(content, Mapping):
        wrapper = next((key for key in WRAPPERS if isinstance(content.get(key), Mapping)), None)
        if wrapper is None:
            break
        content = content[wrapper]
    tensors = isinstance(content, Mapping) and any(isinstance(value, torch.Tensor) for value in content.values())
    if not tensors or not all(isinstance(key, str) for key in content):
        raise WrongFile(f"{shown(path)} holds no state dict. Delete it, and get the right file of that name.")
    return {key.removeprefix("module."): value for key, value in content.items()}
