"""What the pack adds to ComfyUI's start, in seconds of processor time beside an empty pack; exits with 1 above 0.2.

::

    python -m benchmarks.startup
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import comfyui_runtime

LIMIT = 0.2  # seconds, user and system
PAIRS = 7
EMPTY_PACK = """
from comfy_api.latest import ComfyExtension

class Empty(ComfyExtension):
    async def get_node_list(self):
        return []

async def comfy_entrypoint():
    return Empty()
"""
# a process of its own, in which nothing of the pack was imported before; ComfyUI's part is not in the figure
START = """
import asyncio, sys, time
pack, sys.argv = sys.argv[1], ["main.py", *sys.argv[2:]]
import comfy.options
comfy.options.enable_args_parsing()
import nodes
begin = time.process_time()
if not asyncio.run(nodes.load_custom_node(pack)):
    sys.exit(f"ComfyUI could not load {pack}.")
print(time.process_time() - begin)
"""


def seconds(pack: Path) -> float:
    """Processor time that ComfyUI's own loader takes for a pack, in a new process."""
    comfyui, arguments = comfyui_runtime.prepare()
    command = [sys.executable, "-c", START, str(pack), *arguments]
    done = subprocess.run(command, cwd=comfyui, check=True, capture_output=True, text=True)
    return float(done.stdout.split()[-1])


def main() -> int:
    with tempfile.TemporaryDirectory() as empty:
        Path(empty, "__init__.py").write_text(EMPTY_PACK)
        added = []
        for number in range(PAIRS):
            own, other = seconds(comfyui_runtime.pack_folder()), seconds(Path(empty))
            added.append(own - other)
            print(f"start {number + 1} of {PAIRS}: {own:.3f} s, empty pack {other:.3f} s", flush=True)
    median = statistics.median(added)
    print(f"The pack adds {median:.2f} s of processor time (median of {PAIRS} pairs); {LIMIT} s is the limit.")
    return int(median > LIMIT)


if __name__ == "__main__":
    sys.exit(main())
