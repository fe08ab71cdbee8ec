"""Hypothesis searches for files that are not read or refused as they should be, and makes those it finds small."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

from hypothesis import HealthCheck, Phase, configuration, given, settings, target
from hypothesis.database import DirectoryBasedExampleDatabase
from hypothesis.strategies import randoms

from .parsers import Parser
from .trial import Wrong, clock, try_file

KEPT = Path(__file__).resolve().parents[2] / ".runtime" / "fuzz"
configuration.set_hypothesis_home_dir(KEPT)
AT_ONCE = 100  # files of a turn, but for those that make one smaller
SETTINGS = settings(
    max_examples=AT_ONCE,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.reuse, Phase.generate, Phase.target, Phase.shrink),
)


class Search:
    """For files of one parser. A turn begins with what those before it kept: what failed, and what took the most.

    Args:
        folder: where files are read.
        kept: where they are kept, for this and later runs.

    Attributes:
        files, past, seconds: how many were read, how many of them got past the first look, and the time of all.
        found: the smallest file of each fault, by its path, and what was wrong.
    """

    def __init__(self, parser: Parser, folder: Path, kept: Path = KEPT):
        self.parser, self.folder, self.kept = parser, folder, kept
        self.database = DirectoryBasedExampleDatabase(kept / "examples" / parser.name)
        self.files = self.past = 0
        self.seconds = 0.0
        self.found: dict[Path, Wrong] = {}

    def turn(self, alive: Callable[[], None] = lambda: None) -> None:
        """Read about ``AT_ONCE`` files; call ``alive`` before each."""

        @settings(SETTINGS, database=self.database)
        @given(randoms(use_true_random=False))
        def search(rng: Random) -> None:
            alive()
            data = self.parser.make(rng)
            past = self.parser.past(data)
            self.files += 1
            self.past += past
            began = time.process_time()
            memory = try_file(self.parser, self.folder, data)
            if past:  # neither after files that end at the first look, nor after noise
                target(round(memory, 2), label="memory")
                target(round(time.process_time() - began, 1), label="time")

        began = clock()
        try:
            search()
        except Exception as error:
            self.found = {self._keep(fault): fault for fault in _faults(error)}
            if not self.found:
                raise
        self.seconds += clock() - began

    def _keep(self, fault: Wrong) -> Path:
        name = f"{self.parser.name} {hashlib.sha256(fault.data).hexdigest()[:8]}"
        path = self.kept / "faults" / f"{name}{Path(self.parser.file).suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(fault.data)
        return path


def _faults(error: BaseException) -> Iterator[Wrong]:
    """Hypothesis raises them in groups where there are several, or where one does not come again."""
    if isinstance(error, Wrong):
        yield error
    for one in getattr(error, "exceptions", ()):
        yield from _faults(one)
