"""Work that processes claim, on one machine or on several that share a disk, by files that nobody else has.

A claim is a file made with ``O_EXCL``, which of several processes succeeds for one, on local and on network disks. Its
holder writes a growing number into it every two seconds. A holder that is silent for ``SILENCE`` is dead, whatever its
clock says, and so is one of this machine whose process is gone; its work is free again. A holder that was only asleep
finds that its claim is lost, and does not write.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

BEAT, SILENCE = 2.0, 20.0  # seconds
LOCK, DONE = ".lock", ".done"
NUMBER = "[1-9][0-9]{0,8}"  # of a process
LONGEST = 1000  # bytes that are read of a claim


class Claim:
    """A claim on something.

    Args:
        path: of its file.
    """

    def __init__(self, path: Path):
        self.path = Path(path)
        self._token = f"{socket.gethostname()} {os.getpid()} {_where()} {uuid.uuid4().hex}"
        self._heard: tuple[str, float] | None = None  # what was in another one's file, and since when

    def take(self) -> bool:
        """Make the claim, unless someone else holds it; who is silent must be asked again until ``SILENCE`` is over.

        Raises:
            OSError: the folder cannot be written to.
        """
        if self._make():
            return True
        said = self._read()
        if said is None:
            return self._make()
        if self._heard is None or self._heard[0] != said:
            self._heard = said, time.monotonic()
        if not (_is_gone(said) or time.monotonic() - self._heard[1] > SILENCE):
            return False
        return self._remove(said) and self._make()

    def is_mine(self) -> bool:
        """Whether nobody has taken it meanwhile."""
        return (self._read() or "").startswith(self._token)

    def release(self) -> None:
        _Heart.forget(self)
        if self.is_mine():
            self.path.unlink(missing_ok=True)

    @property
    def holder(self) -> str:
        """Machine and number of the process that holds it, as a stranger's file may say it."""
        host, number, *_ = [*(self._read() or "").split(), "", ""]
        return f"process {number} on {host}"

    def beat(self, number: int) -> None:
        """Say that the holder is alive."""
        with contextlib.suppress(OSError), self.path.open("r+b") as file:
            token = self._token.encode()
            if file.read(len(token)) == token:  # which stays as it is, so that whoever reads meanwhile finds it
                file.seek(len(token))
                file.write(_count(number))

    def _make(self) -> bool:
        try:
            handle = os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
        except FileExistsError:
            return False
        with os.fdopen(handle, "wb") as file:
            file.write(self._token.encode() + _count(0))
        _Heart.keep(self)
        return True

    def _read(self) -> str | None:
        try:
            return _content(self.path)
        except FileNotFoundError:
            return None

    def _remove(self, said: str) -> bool:
        """Take a dead one's file away; of several that try at once, one does."""
        away = self.path.with_name(f".{self.path.name}.{uuid.uuid4().hex}")
        try:
            os.rename(self.path, away)
        except FileNotFoundError:
            return True
        is_dead = _content(away) == said
        if not is_dead:  # another process took the place of the dead one just before
            with contextlib.suppress(OSError):
                os.link(away, self.path)
        away.unlink(missing_ok=True)
        return is_dead


class Work:
    """Numbered parts, which the processes of a launch claim one after the other until all are done.

    Args:
        folder: for the claims; it is on a disk that all processes share.
        numbers: of the parts.
        first: place of the part with which this process begins, so that each reads on where it is.
    """

    def __init__(self, folder: Path, numbers: Sequence[int], first: int = 0):
        self._folder, self._numbers = folder, [*numbers[first:], *numbers[:first]]

    def parts(self) -> Iterator[tuple[int, Callable[[], bool]]]:
        """Those that this process is to do, and of each whether it still may; ends when all are done by someone.

        Raises:
            OSError: the folder cannot be written to.
        """
        claims = {number: Claim(self._folder / f"{number:06d}{LOCK}") for number in self._numbers}
        while claims:
            for number in self._done() & claims.keys():
                del claims[number]
            has_worked = False
            for number, claim in list(claims.items()):
                if not claim.take():
                    continue
                try:
                    if not self._mark(number).exists():
                        yield number, claim.is_mine
                        has_worked = True
                        if not claim.is_mine():  # whoever took it does it, or leaves it again
                            continue
                        self._mark(number).touch()
                finally:
                    claim.release()
                del claims[number]
            if claims and not has_worked:
                time.sleep(BEAT / 4)

    def _done(self) -> set[int]:
        with os.scandir(self._folder) as entries:
            return {int(entry.name.removesuffix(DONE)) for entry in entries if entry.name.endswith(DONE)}

    def _mark(self, number: int) -> Path:
        return self._folder / f"{number:06d}{DONE}"


class _Heart(threading.Thread):
    """Beats for all claims of this process."""

    _claims: set[Claim] = set()
    _running: _Heart | None = None
    _lock = threading.Lock()

    @classmethod
    def keep(cls, claim: Claim) -> None:
        with cls._lock:
            cls._claims.add(claim)
            if cls._running is None or not cls._running.is_alive():
                cls._running = cls(daemon=True)
                cls._running.start()

    @classmethod
    def forget(cls, claim: Claim) -> None:
        with cls._lock:
            cls._claims.discard(claim)

    def run(self) -> None:
        number = 0
        while True:
            time.sleep(BEAT)
            number += 1
            with self._lock:
                for claim in self._claims:
                    claim.beat(number)
                if not self._claims:
                    _Heart._running = None
                    return


def _count(number: int) -> bytes:
    """Of one length, so that a larger one takes the place of a smaller one."""
    return b" %012d" % number


def _content(path: Path) -> str:
    with path.open("rb") as file:
        return file.read(LONGEST).decode(errors="replace")


def _where() -> str:
    """Start of this machine and its numbering of processes; empty where they are not known."""
    try:
        start = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{start}:{os.stat('/proc/self/ns/pid').st_ino}"
    except OSError:
        return "-"


def _is_gone(said: str) -> bool:
    """Whether the holder was a process of this machine that is there no longer."""
    _, number, where, *_ = [*said.split(), "", "", ""]
    if where in ("", "-") or where != _where() or not re.fullmatch(NUMBER, number):
        return False
    try:
        os.kill(int(number), 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False
