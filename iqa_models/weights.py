"""Weight files of the IQA models: where they are, and what is in them. No code of a pickle ever runs."""

from __future__ import annotations

import os
import pickle
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import folder_paths
import safetensors
import safetensors.torch
import torch

from . import torchscript

FOLDER = "iqa"  # key of ComfyUI's folder_paths
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
    """Content of a weight file on the CPU: tensors in dicts, lists or tuples.

    ``.safetensors`` stay memory-mapped, and so do zipped ``.pth`` and ``.pt``, which are read with
    ``weights_only=True``. Of a TorchScript archive only the tensors are taken.

    Raises:
        ValueError: the file is incomplete, or has code in it.
    """
    try:
        if path.suffix == ".safetensors":
            return safetensors.torch.load_file(path)
        if torchscript.is_torchscript(path):
            return torchscript.read_tensors(path)
        return torch.serialization.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except pickle.UnpicklingError as error:
        if not _names_code(error):
            raise _damaged(path) from error
        raise ValueError(
            f"{path} is a pickle with code in it ({_first_line(error)}) and was not opened further. "
            "Get a .safetensors or plain state-dict version of it."
        ) from error
    except (safetensors.SafetensorError, RuntimeError, EOFError, zipfile.BadZipFile, KeyError, StopIteration) as error:
        raise _damaged(path) from error


def state_dict(content: object, path: Path | str) -> Mapping[str, torch.Tensor]:
    """The state dict in a file's content: without wrappers such as ``params`` and the prefix ``module.``.

    Raises:
        ValueError: there is none.
    """
    while isinstance(content, Mapping):
        wrapper = next((key for key in WRAPPERS if isinstance(content.get(key), Mapping)), None)
        if wrapper is None:
            return {key.removeprefix("module."): value for key, value in content.items()}
        content = content[wrapper]
    raise ValueError(f"{path} holds no state dict. Delete it, and get the right file of that name.")


def _damaged(path: Path) -> ValueError:
    return ValueError(f"{path} ({os.path.getsize(path)} bytes) is damaged or incomplete. Delete it, and get it again.")


def _names_code(error: pickle.UnpicklingError) -> bool:
    return any(word in str(error) for word in ("Unsupported", "GLOBAL", "no place among tensors", "Can only"))


def _first_line(error: Exception) -> str:
    """What torch calls the unsafe part, without its advice on how to open the file all the same."""
    lines = str(error).splitlines()
    return next((line.strip() for line in lines if "GLOBAL" in line or "Unsupported" in line), lines[0]).split(". ")[0]
