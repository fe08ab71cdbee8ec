"""Which folders a workflow may name. Workflows come from strangers, and by ComfyUI's API from whoever reaches its port.

ComfyUI's input, output, temporary and model folders are always allowed. While ComfyUI listens to this machine alone,
so are all others but whole disks and home folders, which would be searched for minutes. When it listens further
(``--listen``), they need the word of the person at the machine: the environment variable ``IQA_ADAPTER_FOLDERS``
(separated as in ``PATH``), or ``iqa_pictures`` in ComfyUI's ``extra_model_paths.yaml``. Folders of other machines
(``\\\\server\\share``) always do, since looking at one sends this user's name there. The command line is free.
"""

from __future__ import annotations

import ipaddress
import os
from pathlib import Path

import folder_paths
from comfy.cli_args import args

from ..files import shown

VARIABLE, KEY = "IQA_ADAPTER_FOLDERS", "iqa_pictures"


def allowed_folder(path: str | Path) -> Path:
    """The same as an absolute path without ``..``; nothing is looked at before it is known to be allowed.

    Raises:
        ValueError: a workflow may not name it; says how to allow it.
    """
    text = os.fspath(path)
    if not text.isprintable():
        raise ValueError(f"The folder {shown(text)} has control characters in its name. Rename it.")
    place = Path(os.path.abspath(text))
    if any(place.is_relative_to(root) for root in _named()):
        return place
    if is_elsewhere(text):
        raise ValueError(f"The folder {shown(text)} is on another machine. {_remedy('Copy it into')}")
    if any(place.is_relative_to(root) for root in _own()):
        return place
    if place in (Path.home(), Path(place.anchor), Path.home().parent):
        raise ValueError(f"{shown(place)} is a whole disk or home folder. Name the folder of pictures inside it.")
    if not is_local(args.listen):
        raise ValueError(
            f"The folder {shown(place)} is outside ComfyUI's folders, and ComfyUI listens to other machines "
            f"(--listen). {_remedy('Move it into')}"
        )
    return place


def is_elsewhere(path: str) -> bool:
    """Whether it is a folder of another machine; Windows takes either slash for the other."""
    return path.replace("\\", "/").startswith("//")


def is_local(listen: str) -> bool:
    """Whether addresses, separated by commas, are reached from this machine only."""
    return all(map(_is_loopback, listen.split(",")))


def _is_loopback(address: str) -> bool:
    address = address.strip().strip("[]")
    try:
        return address.lower() == "localhost" or ipaddress.ip_address(address).is_loopback
    except ValueError:  # another machine's name
        return False


def _own() -> list[str]:
    """ComfyUI's folders, without that of packs, which holds code."""
    found = [folder_paths.get_input_directory(), folder_paths.get_output_directory(), folder_paths.get_temp_directory()]
    kinds = folder_paths.folder_names_and_paths.items()
    found += [folder for kind, (folders, _) in kinds if kind not in ("custom_nodes", KEY) for folder in folders]
    return list(map(os.path.abspath, found))


def _named() -> list[str]:
    """What the person at the machine has allowed."""
    extra = folder_paths.folder_names_and_paths.get(KEY, ([], set()))[0]
    return [os.path.abspath(folder) for folder in [*os.environ.get(VARIABLE, "").split(os.pathsep), *extra] if folder]


def _remedy(what: str) -> str:
    return (
        f"{what} ComfyUI's input folder, {shown(folder_paths.get_input_directory())}; or let the person at the machine "
        f"allow it: {VARIABLE} in the environment, or {KEY} in extra_model_paths.yaml."
    )
