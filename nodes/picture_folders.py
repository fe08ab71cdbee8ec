"""The two inputs with which the training nodes are told where the pictures are: a path, or a folder from a list."""

from __future__ import annotations

import os
from pathlib import Path

import folder_paths
from comfy_api.latest import io

from ..files import shown
from ..pictures.choices import folders_with_pictures
from ..pictures.reading import fingerprint
from .allowed_folders import allowed_folder, is_elsewhere

AS_WRITTEN = "as in pictures"


def pictures_input() -> io.String.Input:
    return io.String.Input(
        "pictures",
        default="",
        placeholder="/data/photos, or choose a folder below",
        tooltip="Folder of pictures with captions (name.txt beside name.png, or metadata.jsonl or .csv), of WebDataset "
        ".tar shards or Parquet files with pictures; a path, or a folder in ComfyUI's input folder. Leave it empty to "
        "choose from the list in folder.",
    )


def folder_input() -> io.Combo.Input:
    return io.Combo.Input(
        "folder",
        options=[AS_WRITTEN, *_listed()],
        default=AS_WRITTEN,
        optional=True,
        tooltip="Folders in ComfyUI's input folder that hold pictures, in place of a path in pictures. Press R to see "
        "new ones.",
    )


def chosen_folder(pictures: str, folder: str = AS_WRITTEN) -> Path:
    """What the two inputs name: absolute paths as they are, others below ComfyUI's input folder.

    Raises:
        ValueError: nothing, two different folders, or one that a workflow may not name.
    """
    written, inputs = pictures.strip(), Path(folder_paths.get_input_directory())
    listed = allowed_folder(inputs / folder) if folder != AS_WRITTEN else None
    if written:
        path = allowed_folder(_absolute(written))
        if listed not in (None, path):
            raise ValueError(
                f"pictures says {shown(written)}, but folder says {shown(folder)}: empty pictures, or set folder to "
                f"'{AS_WRITTEN}'."
            )
        return path
    if listed:
        return listed
    there = "choose one in folder" if _listed() else "put one there (so far it holds none with pictures)"
    raise ValueError(
        "No folder of pictures is chosen. It may lie in ComfyUI's input folder, "
        f"{shown(inputs)}: {there}; or write the path of another one into pictures."
    )


def _absolute(written: str) -> str:
    """As a text: pathlib makes one slash of the two with which a folder of another machine may begin."""
    if is_elsewhere(written):
        return written
    try:
        path = Path(written).expanduser() if written.startswith("~") else written
        return os.path.join(folder_paths.get_input_directory(), path)
    except RuntimeError as error:  # nobody has that name
        raise ValueError(f"There is no home folder {shown(written)}.") from error


def checked_folder(pictures: str | None, folder: str) -> bool | str:
    """Answer of ``validate_inputs``; None are pictures that another node will name."""
    if pictures is None:
        return True
    try:
        path = chosen_folder(pictures, folder)
    except ValueError as error:
        return str(error)
    if folder != AS_WRITTEN and not path.is_dir():
        return f"There is no folder {shown(folder)} in ComfyUI's input folder any more; choose another in folder."
    return True


def folder_fingerprint(pictures: str | None, folder: str) -> str:
    """Answer of ``fingerprint_inputs``, which changes with what the folder holds; see :func:`checked_folder`."""
    return "" if pictures is None else fingerprint(chosen_folder(pictures, folder))


def _listed() -> list[str]:
    return folders_with_pictures(folder_paths.get_input_directory())
