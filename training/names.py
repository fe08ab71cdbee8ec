"""Names of runs and tables: each is a file and a folder, on every system."""

from __future__ import annotations

import re

from ..printable import DEVICES, FORBIDDEN

LONGEST = 200  # bytes in UTF-8; file systems allow 255, of which endings and temporary names take some
RESERVED = {"cache"}  # folder beside the runs


def check_name(name: str) -> None:
    """Refuse a name that would be no file or folder somewhere.

    Raises:
        ValueError: the name cannot be that of a file and a folder on every system; says why.
    """
    if reason := _fault(name):
        shown = name if len(name) <= 60 else f"{name[:57]}..."
        raise ValueError(f"name must be a plain file name, without folders, not {shown!r}: {reason}.")


def check_prefix(prefix: str) -> None:
    """Refuse the beginning of file names, perhaps with folders before it, that cannot be one on every system.

    Raises:
        ValueError: says which part, and why.
    """
    for part in filter(None, re.split(r"[/\\]", prefix)):
        reason = _fault(re.sub("%[^%]*%", "0", part))  # what ComfyUI puts numbers and dates in place of
        if reason and part.lower() not in RESERVED:
            shown = part if len(part) <= 60 else f"{part[:57]}..."
            raise ValueError(f"{shown!r} cannot be part of a file's name: {reason}.")


def _fault(name: str) -> str:
    stem = name.partition(".")[0].strip().lower()
    try:
        length = len(name.encode())
    except UnicodeEncodeError:
        return "it is no text"
    faults = {
        "it is empty": not name.strip(),
        "it is longer than 200 bytes": length > LONGEST,
        f"it has one of {' '.join(sorted(FORBIDDEN))}": bool(set(name) & FORBIDDEN),
        "it begins or ends with a blank, or with a full stop": name != name.strip() or name != name.strip("."),
        "it has a line break or another control character": not name.isprintable(),
        "Windows keeps it for a device": stem in DEVICES,
        "cached latents have that folder": name.lower() in RESERVED,
    }
    return next((fault for fault, holds in faults.items() if holds), "")
