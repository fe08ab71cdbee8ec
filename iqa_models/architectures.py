"""Imports pyiqa, and single architectures of it, without packages that they name but no metric here uses.

Left alone, pyiqa looks for an architecture by importing all of them, with transformers and whatever else they name, and
passes over those that fail; a missing package then shows as an unknown architecture. Two packages are named at the head
of modules that we need, but never used by us: facexlib (it finds faces, for metrics that are not offered here) and
pkg_resources (OpenAI's clip compares torch's version with it; setuptools 82 has dropped it). Where one of them is not
installed, an empty module stands in for it during the import.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace

from ..optional import needed

_new_enough = SimpleNamespace(parse=lambda version: 0)  # clip asks whether torch is older than 1.8: 0 < 0 is False
STAND_INS = {
    "facexlib.utils.face_restoration_helper": {"FaceRestoreHelper": None},
    "pkg_resources": {"packaging": SimpleNamespace(version=_new_enough)},
}


@contextlib.contextmanager
def importing_pyiqa() -> Iterator[None]:
    """Put around imports of pyiqa.

    Raises:
        ImportError: pyiqa, or a package that it cannot do without, is missing; the message says what to run.
    """
    absent = [name for name in STAND_INS if not _installed(name.partition(".")[0])]
    for name in absent:
        sys.modules[name] = ModuleType(name)
        vars(sys.modules[name]).update(STAND_INS[name])
    try:
        with needed("pyiqa"):
            yield
    finally:
        for name in absent:
            sys.modules.pop(name, None)


def import_architecture(name: str) -> None:
    """Import the module of pyiqa that defines an architecture, which is then in pyiqa's registry.

    Raises:
        ImportError: as :func:`importing_pyiqa`.
    """
    with importing_pyiqa():
        archs = importlib.import_module("pyiqa.archs")
        for file in sorted(Path(archs.__file__).parent.glob("*_arch.py")):
            if re.search(rf"^class {name}\b", file.read_text(encoding="utf-8"), re.MULTILINE):
                importlib.import_module(f"pyiqa.archs.{file.stem}")


def _installed(package: str) -> bool:
    try:
        return importlib.util.find_spec(package) is not None
    except ImportError:  # something that hides packages says so
        return False
