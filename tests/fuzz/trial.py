"""One reading of a hostile file, and what was wrong about it."""

from __future__ import annotations

import contextlib
import faulthandler
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import hostile_files

if TYPE_CHECKING:
    from .parsers import Parser

MB = 2**20
ROOM = 64 * MB  # bytes that a reading may take beside twice its file
SECONDS = 20  # of computing, after which a reading is taken to last for ever; the slowest takes 2
STUCK = 300  # seconds in code that cannot be interrupted, after which the process ends with its stacks
LONGEST = 3000  # characters of a message
LINUX = sys.platform == "linux"


class Endless(BaseException):
    """A reading that does not end; no reader catches it."""


class Wrong(Exception):
    """A file that was neither read nor refused as it should be.

    Attributes:
        data: the file.
    """

    def __init__(self, problem: str, data: bytes):
        super().__init__(problem)
        self.data = data


def try_file(parser: Parser, folder: Path, data: bytes) -> float:
    """Read a file as the parser does.

    Returns:
        The share that it took of the memory that it may take; 0 where that cannot be said.

    Raises:
        Wrong: it was neither read nor refused as it should be.
    """
    path = parser.put(folder, data)
    began, endless = _forget_peak(), False
    try:
        with _watched():
            parser.read(path)
    except (ValueError, OSError) as error:
        problem = "raised" if parser.never_raises else _wrong_message(str(error), parser.names(path))
        if problem:
            raise Wrong(f"{problem}: {type(error).__name__}: {str(error)[:300]!r}", data) from error
    except Exception as error:
        raise Wrong(f"raised {type(error).__name__}: {str(error)[:300]!r}", data) from error
    except Endless:
        endless = True
    if endless:  # without the place where it was stopped, which is another each time
        raise Wrong(f"took more than {SECONDS} s of computing", data)
    taken, room = (_peak() - began, 2 * len(data) + parser.room) if LINUX else (0, 1)
    if taken > room:
        raise Wrong(f"took {taken / MB:.0f} MB, may take {room / MB:.0f}", data)
    return taken / room


def _wrong_message(message: str, names: tuple[str, ...]) -> str:
    if not any(name in message for name in names):
        return f"names none of {', '.join(names)}"
    if not message.isprintable():
        return "has a message that cannot be printed"
    return "has an endless message" if len(message) > LONGEST else ""


@contextlib.contextmanager
def _watched() -> Iterator[None]:
    """Computing time has an end, and memory, where that can be said, is far from the machine's."""
    if not LINUX:
        yield
        return
    import resource

    def stop(*_):
        raise Endless

    before = signal.signal(signal.SIGVTALRM, stop)  # the time of this process: other work on the machine does not count
    signal.setitimer(signal.ITIMER_VIRTUAL, SECONDS)
    limits = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (hostile_files.memory("VmSize") + 4096 * MB, limits[1]))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)
        resource.setrlimit(resource.RLIMIT_AS, limits)


def _forget_peak() -> int:
    """Bytes in use; the largest number so far is forgotten."""
    if not LINUX:
        return 0
    Path("/proc/self/clear_refs").write_text("5")
    return hostile_files.memory("VmRSS")


def _peak() -> int:
    return hostile_files.memory("VmHWM")


@contextlib.contextmanager
def never_stuck() -> Iterator[Callable[[], None]]:
    """Ends the process where code that cannot be interrupted is stuck; call what it gives between readings."""
    try:
        yield lambda: faulthandler.dump_traceback_later(STUCK, exit=True)
    finally:
        faulthandler.cancel_dump_traceback_later()


def clock() -> float:
    return time.monotonic()
