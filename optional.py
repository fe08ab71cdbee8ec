"""Packages that may be missing: imported where a node needs them, or one sentence says what to run."""

from __future__ import annotations

import contextlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path

INSTALL = Path(__file__).resolve().parent / "install.py"
LEAST = {"pyarrow": "14.0.1"}  # those before run code that is in a file of Arrow or Parquet (CVE-2023-47248)


@contextlib.contextmanager
def needed(package: str) -> Iterator[None]:
    """Put around imports of a package inside the function that uses it::

        with needed("matplotlib"):
            from matplotlib.figure import Figure

    Raises:
        ImportError: the package, or one that it needs, is missing, broken, or too old to be safe; the message says what
            to run.
    """
    try:
        yield
    except Exception as error:  # a package built for another numpy may raise anything while it is imported
        raise ImportError(_what_to_do(package, error), name=package) from error
    if package in LEAST and _numbers(found := sys.modules[package].__version__) < _numbers(LEAST[package]):
        raise ImportError(
            f"{package} {found} runs code that files of strangers hold. Install {LEAST[package]} or newer:  "
            f'"{sys.executable}" -m pip install "{package}>={LEAST[package]}"',
            name=package,
        )


def _numbers(version: str) -> list[int]:
    return [int(number) for number in re.findall(r"[0-9]+", version)[:3]]


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
