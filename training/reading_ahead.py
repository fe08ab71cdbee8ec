"""Threads that read ahead, as far as there is room."""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError, ThreadPoolExecutor
from functools import partial
from typing import TypeVar

Item, Result = TypeVar("Item"), TypeVar("Result")
Reserve = Callable[[int], None]  # tells how many bytes are taken from now on; the first call may wait

READERS = 8  # threads that decode pictures
MEMORY = 2**30  # bytes of decoded pictures that wait


def read_ahead(
    items: Iterable[Item],
    read: Callable[[Item, Reserve], Result],
    threads: int,
    most: int,
    memory: float = math.inf,
) -> Iterator[tuple[Item, Result]]:
    """Items with what ``read`` gives, in order; read by threads while the caller is busy.

    Args:
        read: called as ``read(item, reserve)``. Before it takes much memory it calls ``reserve`` with the bytes, which
            waits for its turn and for room, and again when it needs fewer.
        most: items at most that are read ahead.
        memory: bytes at most that are reserved for items which have not been given out; more for one item alone.

    Raises:
        Exception: what ``read`` raises, where its item would come.
    """
    room, pool, ahead = _Room(memory), ThreadPoolExecutor(threads), deque()
    try:
        for number, item in enumerate(items):
            ahead.append((number, item, pool.submit(_read, read, item, room, number)))
            if len(ahead) > most:
                yield room.give_out(*ahead.popleft())
        while ahead:
            yield room.give_out(*ahead.popleft())
    finally:
        room.close()
        pool.shutdown(cancel_futures=True)


def _read(read: Callable[[Item, Reserve], Result], item: Item, room: _Room, number: int) -> Result:
    try:
        return read(item, partial(room.reserve, number))
    finally:
        room.pass_turn(number)


class _Room:
    """Bytes that items may take until they are given out. They get them in order: the one that the caller waits for
    comes first, and when nothing else is read ahead it gets whatever it asks for, so that nobody waits for ever."""

    def __init__(self, memory: float):
        self._memory, self._taken, self._next, self._closed = memory, {}, 0, False
        self._changed = threading.Condition()

    def reserve(self, number: int, size: int) -> None:
        with self._changed:
            if number not in self._taken:
                self._changed.wait_for(lambda: self._closed or (number == self._next and self._has(size)))
                if self._closed:
                    raise CancelledError
                self._next += 1
            self._taken[number] = size
            self._changed.notify_all()

    def pass_turn(self, number: int) -> None:
        """Let the next one reserve, though this one has not."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or number <= self._next)
            self._next = max(self._next, number + 1)
            self._changed.notify_all()

    def give_out(self, number: int, item: Item, future) -> tuple[Item, object]:
        result = future.result()
        with self._changed:
            self._taken.pop(number, None)
            self._changed.notify_all()
        return item, result

    def close(self) -> None:
        """Nobody waits any longer."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _has(self, size: int) -> bool:
        return not self._taken or sum(self._taken.values()) + size <= self._memory
