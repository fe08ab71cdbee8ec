"""Pictures of the quickstart under ComfyUI's options, beside those without: two prompts each.

    python -m benchmarks.options [OPTION ...]

Prints the root mean square of the difference of the latents, which have a standard deviation of about 1, for a graph
with an adapter and for the same graph without. What an option changes by itself is in the second number.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from random import Random

import torch
from safetensors.torch import load_file

import comfyui_runtime
from comfyui_client import Client

from . import soak_graphs

OPTIONS = (
    "--fp16-unet", "--bf16-unet", "--fp8_e4m3fn-unet", "--force-channels-last", "--use-split-cross-attention",
    "--use-quad-cross-attention", "--cache-none", "--cache-lru 10",
)  # fmt: skip
GPU_ONLY = ("--lowvram", "--novram")
TOLERANCE = 0.05  # beyond twice what the option changes without an adapter


def main() -> int:
    parser = argparse.ArgumentParser("python -m benchmarks.options", description=__doc__.split("\n")[0])
    gpu = GPU_ONLY if torch.cuda.is_available() else ()
    parser.add_argument("options", nargs="*", default=[*OPTIONS, *gpu])
    given = parser.parse_args()
    usual, worst = latents(""), 0.0
    print("| option | with the adapter | without |\n| --- | --- | --- |")
    for option in given.options:
        try:
            found = latents(option)
        except RuntimeError as error:
            print(f"| {option} | {str(error).splitlines()[0][:120]} | |", flush=True)
            worst = float("inf")
            continue
        adapted, plain = (float((a - b).square().mean().sqrt()) for a, b in zip(found, usual, strict=True))
        print(f"| {option} | {adapted:.4f} | {plain:.4f} |", flush=True)
        worst = max(worst, adapted - 2 * plain)
    return int(worst > TOLERANCE)


def latents(option: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Of a server with an option: with an adapter, and without."""
    with tempfile.TemporaryDirectory(prefix="options") as folder:
        log = Path(folder) / "comfyui.log"
        with comfyui_runtime.serve(log, "--output-directory", folder, *option.split()) as address:
            client = Client(address, log)
            return latent(client, graph("last")), latent(client, graph("model"))


def graph(model: str) -> dict:
    drawn = soak_graphs.score(Random(1))
    kept = ("model", "text", "none", "sample", "adapter", "embeds", "last")
    drawn = {name: drawn[name] for name in kept}
    drawn["embeds"]["inputs"] |= {"quality": 99.0, "negative_strength": 0.0}
    drawn["last"]["inputs"] |= {"strength": 1.0, "end_percent": 1.0, "layer_weighting": "all"}
    drawn["sample"]["inputs"] |= {"model": [model, 0], "steps": 8, "cfg": 4.0, "sampler_name": "euler", "seed": 1}
    drawn["save"] = soak_graphs.node("SaveLatent", samples=["sample", 0], filename_prefix=model)
    return drawn


def latent(client: Client, graph: dict) -> torch.Tensor:
    saved = client.outputs_of(graph)["save"]["latents"][0]
    return load_file(client.log.parent / saved["subfolder"] / saved["filename"])["latent_tensor"].float()


if __name__ == "__main__":
    sys.exit(main())
