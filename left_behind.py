"""Folders of temporary files beside the files that they become, and what killed processes leave of them.

A folder, since libraries put temporary files of their own beside what they write (safetensors 0.8 does).
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import sys
import tempfile
import time
import uuid
from functools import cache
from pathlib import Path

NAME = re.compile(r"\..+\.[a-z0-9_]{8}\.part")  # of all of them
OWN = re.compile(r"\..+\.([0-9a-f]{8})-([0-9]+)\.[a-z0-9_]{8}\.part")  # with whose they are; version 0.1.0 did not say
MANY, PAUSE = 256, 60  # a folder of so many entries is looked through by a process once in so many seconds
AGE = 24 * 3600  # seconds since the last write, after which that of another machine is one of a killed process


_next_look: dict[str, float] = {}  # of large folders


def new_temporary(path: Path) -> Path:
    """A new, empty folder beside ``path``, whose name says which process of which machine writes into it.

    Raises:
        OSError: it cannot be made.
    """
    prefix = f".{path.name[:40]}.{_machine()}-{os.getpid()}."
    return Path(tempfile.mkdtemp(prefix=prefix, suffix=".part", dir=path.parent))


def remove_left_behind(folder: Path) -> None:
    """Remove what killed processes left in a folder: those of this machine at once, of others a day later.

    Nothing is done for a large folder that this process has just looked through, so that thousands of small files can
    be written into one.

    Raises:
        OSError: it cannot be listed.
    """
    if time.monotonic() < _next_look.get(os.fspath(folder), 0.0):
        return
    count = 0
    with os.scandir(folder) as entries:
        for count, entry in enumerate(entries, 1):  # noqa: B007  is asked for below
            if NAME.fullmatch(entry.name):
                with contextlib.suppress(OSError):  # another process was quicker
                    if _is_dead(entry.name) or time.time() - entry.stat(follow_symlinks=False).st_mtime > AGE:
                        remove(Path(entry))
    if count >= MANY:
        _next_look[os.fspath(folder)] = time.monotonic() + PAUSE


def remove(temporary: Path) -> None:
    """A folder of temporary files, or a single one, as version 0.1.0 made them."""
    if temporary.is_dir() and not temporary.is_symlink():
        shutil.rmtree(temporary, ignore_errors=True)
    else:
        temporary.unlink(missing_ok=True)


def _is_dead(name: str) -> bool:
    """Whether the process that writes a file was one of this machine, and is no more."""
    found = OWN.fullmatch(name)
    if found is None or found[1] != _machine() or sys.platform == "win32":  # where asking for a process may end it
        return False
    try:
        os.kill(int(found[2]), 0)
    except (ProcessLookupError, OverflowError):
        return True
    except OSError:  # it is somebody else's
        return False
    return False


@cache
def _machine() -> str:
    """Tells apart where process numbers mean other processes: machines, their starts, and containers."""
    parts = [str(uuid.getnode()), os.uname().nodename if hasattr(os, "uname") else ""]
    with contextlib.suppress(OSError):  # other systems than Linux
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text())
        parts.append(os.readlink("/proc/self/ns/pid"))
    return hashlib.blake2b("\n".join(parts).encode(), digest_size=4).hexdigest()
