"""Test node: what the server's process holds. Linux only (``/proc``)."""

import gc
import os
import threading
from pathlib import Path

import comfy.model_management
from comfy.model_patcher import ModelPatcher
from comfy_api.latest import ComfyExtension, io


class Probe(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="TestProbe", inputs=[io.Int.Input("number", default=0)], outputs=[], is_output_node=True
        )

    @classmethod
    def execute(cls, number):
        gc.collect()
        status = Path("/proc/self/status").read_text().splitlines()
        held = {
            "memory": 1024 * int(next(line.split()[1] for line in status if line.startswith("VmRSS"))),
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
