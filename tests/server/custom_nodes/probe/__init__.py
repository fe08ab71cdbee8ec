"""Test node: what the server's process holds. Linux with glibc only (``/proc``, ``malloc_trim``)."""

import ctypes
import gc
import os
import threading
from pathlib import Path

import comfy.model_management
from comfy.model_patcher import ModelPatcher
from comfy_api.latest import ComfyExtension, io

GLIBC = ctypes.CDLL("libc.so.6")


def resident() -> int:
    """Bytes of this process that are in RAM, pieces of the heap that were freed and not given back included."""
    status = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line.split()[1] for line in status if line.startswith("VmRSS")))


def give_back() -> None:
    """Let go of what nothing refers to, and of the whole pages of it that the C library would keep for later."""
    gc.collect()
    GLIBC.malloc_trim(0)


class Probe(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="TestProbe", inputs=[io.Int.Input("number", default=0)], outputs=[], is_output_node=True
        )

    @classmethod
    def execute(cls, number):
        before = resident()
        give_back()
        held = {
            "memory": resident(),
            "with_free": before,
            "handles": len(os.listdir("/proc/self/fd")),
            "threads": threading.active_count(),
            "models": len(comfy.model_management.current_loaded_models),
            "patchers": sum(isinstance(one, ModelPatcher) for one in gc.get_objects()),
        }
        return io.NodeOutput(ui={"held": [held]})


class ProbeExtension(ComfyExtension):
    async def get_node_list(self):
        return [Probe]


async def comfy_entrypoint():
    return ProbeExtension()
