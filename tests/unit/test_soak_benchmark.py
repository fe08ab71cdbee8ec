"""What the soak takes for memory that a process holds."""

import ctypes
import importlib
import sys

import pytest

from comfyui_runtime import ROOT

PIECE, COUNT = 2**16, 1000  # bytes, too few for a mapping of their own


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/proc and glibc")
def test_free_pieces_of_the_heap_are_given_back_first(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "tests" / "server" / "custom_nodes")
    probe = importlib.import_module("probe")
    allocate, free = probe.GLIBC.malloc, probe.GLIBC.free
    allocate.restype, allocate.argtypes, free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]
    pieces = [allocate(PIECE) for _ in range(COUNT)]
    for piece in pieces:
        ctypes.memset(piece, 1, PIECE)
    for piece in pieces[:-1]:  # the last one keeps the heap as long as it is
        free(piece)
    before = probe.resident()
    probe.give_back()
    assert before - probe.resident() > PIECE * COUNT / 2
    free(pieces[-1])
