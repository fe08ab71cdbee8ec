"""Other packs beside this one in ComfyUI's server: whether each loads, and what it changes by being there.

    python -m benchmarks.packs FOLDER/ComfyUI_IPAdapter_plus FOLDER/ComfyUI-Impact-Pack ...

Prints for each pack how many nodes it adds, and whether the quickstart's latents, with and without an adapter, are the
same bits as without it. What their nodes and ours do together in one graph is tested in tests/graph/test_composition*.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from random import Random

import torch

import comfyui_runtime
from comfyui_client import Client

from . import soak_graphs
from .options import latent


def main() -> int:
    parser = argparse.ArgumentParser("python -m benchmarks.packs", description=__doc__.split("\n")[0])
    parser.add_argument("packs", nargs="+", type=Path, help="folders of packs")
    given = parser.parse_args()
    count, usual, _ = together([])
    print("| pack | loads | nodes | latents |\n| --- | --- | --- | --- |")
    for packs in ([pack] for pack in given.packs) if len(given.packs) > 1 else ():
        report(packs, count, usual)
    return 0 if report(given.packs, count, usual) else 1


def report(packs: Sequence[Path], count: int, usual: tuple) -> bool:
    """Prints a line; whether the latents are the same."""
    nodes, found, failed = together(packs)
    same = all(map(torch.equal, found, usual))
    name = packs[0].name if len(packs) == 1 else f"all {len(packs)}"
    loads = f"not: {', '.join(failed)}" if failed else "yes"
    print(f"| {name} | {loads} | {nodes - count} | {'the same bits' if same else 'OTHER'} |", flush=True)
    return same


def together(packs: Sequence[Path]) -> tuple[int, tuple[torch.Tensor, torch.Tensor], list[str]]:
    """Of a server with these packs: its nodes, latents with and without an adapter, and the packs that did not load."""
    with tempfile.TemporaryDirectory(prefix="packs") as folder:
        (Path(folder) / "nodes").mkdir()
        for pack in packs:
            (Path(folder) / "nodes" / pack.name).symlink_to(pack.resolve())
        (Path(folder) / "paths.yaml").write_text(json.dumps({"others": {"custom_nodes": f"{folder}/nodes"}}))
        log = Path(folder) / "comfyui.log"
        arguments = ["--output-directory", folder, "--extra-model-paths-config", f"{folder}/paths.yaml"]
        with comfyui_runtime.serve(log, *arguments) as address:
            client = Client(address, log)
            nodes = len(client.get("/object_info"))
            found = latent(client, graph("last")), latent(client, graph("model"))
        return nodes, found, re.findall(r"\(IMPORT FAILED\): .*/([^/\n]+)", log.read_text(errors="replace"))


def graph(model: str) -> dict:
    """The quickstart, sampled with the output of a node: ``last`` has the adapter, ``model`` not."""
    drawn = soak_graphs.score(Random(1))
    drawn = {name: drawn[name] for name in ("model", "text", "none", "sample", "adapter", "embeds", "last")}
    drawn["embeds"]["inputs"] |= {"quality": 99.0, "negative_strength": 0.0}
    drawn["last"]["inputs"] |= {"strength": 1.0, "end_percent": 1.0, "layer_weighting": "all"}
    drawn["sample"]["inputs"] |= {"model": [model, 0], "steps": 8, "cfg": 4.0, "sampler_name": "euler", "seed": 1}
    drawn["save"] = soak_graphs.node("SaveLatent", samples=["sample", 0], filename_prefix=model)
    return drawn


if __name__ == "__main__":
    sys.exit(main())
