"""A server's answer, block by block, to someone who may cancel at any moment, whatever the server does."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Iterator, Mapping

import comfy.model_management
import requests

BLOCK = 2**16  # bytes; small, so that those of a slow server are kept, too
AHEAD = 64  # blocks that wait to be written
LOOK = 0.2  # seconds between two looks at the cancel button
TIMEOUT = (10, 30)  # seconds: to connect, and between two packets


@contextlib.contextmanager
def answer(url: str, headers: Mapping[str, str]) -> Iterator[tuple[requests.Response, Iterator[bytes]]]:
    """The answer to a GET, and its body as it was sent: nothing is unpacked.

    A thread of its own waits for the server. It is left alone when the block ends early, and ends at the next packet or
    timeout.

    Raises:
        OSError, urllib3.exceptions.HTTPError, ValueError: what went wrong, now or within the body.
        comfy.model_management.InterruptProcessingException: the user cancelled.
    """
    waiting: queue.Queue = queue.Queue(AHEAD)
    over = threading.Event()
    threading.Thread(target=_receive, args=(url, headers, waiting, over), daemon=True, name="download").start()
    try:
        yield _next(waiting), iter(lambda: _next(waiting), None)
    finally:
        over.set()


def _receive(url: str, headers: Mapping[str, str], waiting: queue.Queue, over: threading.Event) -> None:
    """Put the answer, its blocks and None into the queue; or an exception."""

    def put(item: object) -> None:
        while not over.is_set():
            with contextlib.suppress(queue.Full):
                return waiting.put(item, timeout=LOOK)

    try:
        with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT) as response:
            put(response)
            for block in response.raw.stream(BLOCK, decode_content=False):
                put(block)
                if over.is_set():
                    return
            put(None)
    except Exception as error:  # whatever it is, it belongs to who waits
        put(error)


def _next(waiting: queue.Queue) -> object:
    while True:
        comfy.model_management.throw_exception_if_processing_interrupted()
        with contextlib.suppress(queue.Empty):
            item = waiting.get(timeout=LOOK)
            if isinstance(item, Exception):
                raise item
            return item
