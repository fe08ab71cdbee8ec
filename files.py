"""Files that are written whole or not at all, and tensors that are read while code never is."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor


@contextlib.contextmanager
def written_whole(path: str | Path) -> Iterator[Path]:
    """A temporary path beside ``path``; what was written there takes its place when the block ends well.

    Processes and machines that write the same file at once do not meet: every one has a temporary file of its own, and
    the last one to finish wins.

    Yields:
        A path in the same folder, which does not exist yet as far as the caller is concerned (it is an empty file).

    Raises:
        OSError: the file cannot be written, for example because the disk is full; one that was there is kept.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        os.chmod(temporary, 0o666 & ~_UMASK)  # mkstemp lets nobody else read
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: str | Path, text: str) -> None:
    """UTF-8."""
    with written_whole(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: str | Path, content: object) -> None:
    """Indented JSON."""
    write_text(path, json.dumps(content, indent=1))


def write_tensors(path: str | Path, tensors: Mapping[str, Tensor], header: Mapping[str, str] | None = None) -> None:
    """A ``.safetensors`` file."""
    with written_whole(path) as temporary:
        contiguous = {name: tensor.detach().contiguous() for name, tensor in tensors.items()}
        save_file(contiguous, temporary, None if header is None else dict(header))


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


_UMASK = _umask()
