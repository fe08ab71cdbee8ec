"""Packages that may be missing: imported where a node needs them, or one sentence says what to run."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path

INSTALL = Path(__file__).resolve().parent / "install.py"


@contextlib.contextmanager
def needed(package: str) -> Iterator[None]:
    """Put around imports of a package inside the function that uses it::

        with needed("matplotlib"):
            from matplotlib.figure import Figure

    Raises:
        ImportError: the package, or one that it needs, is missing or broken; the message says what to run.
    """
    try:
        yield
    except Exception as error:  # a package built for another numpy may raise anything while it is imported
        raise ImportError(_what_to_do(package, error), name=package) from error


def _what_to_do(package: str, error: Exception) -> str:
    command = f'"{sys.executable}" "{INSTALL}"'
    missing = error.name.partition(".")[0] if isinstance(error, ModuleNotFoundError) and error.name else ""
    if not missing or sys.modules.get(missing):  # there, but without what is asked of it
        return (
            f"{package} is installed but cannot be imported ({type(error).__name__}: {error}). What is wrong with the "
            f"pack's packages is said by:  {command}"
        )
    what = package if missing == package else f"{missing}, which {package} needs,"
    return f"{what} is not installed. Install what is missing with:  {command}"
