"""Pictures under ComfyUI's options, beside those without: two prompts each, with an adapter and without.

    python -m benchmarks.options [OPTION ...]

A narrow SDXL of random weights is made in the precision that ComfyUI's loader chooses under the option. (The quickstart
is float32 whatever is asked for.) Prints the root mean square of the difference of the latents, in standard deviations
of those without option; what an option changes by itself is in the second number. An option of the precision that
changes nothing is a failure, for then nothing was compared.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from random import Random

import torch
from safetensors.torch import load_file

import comfyui_runtime
from comfyui_client import Client

from . import soak_graphs
from .soak import ROOT, write_adapters

PRECISIONS = ("--fp16-unet", "--bf16-unet", "--fp8_e4m3fn-unet")
OPTIONS = (
    *PRECISIONS, "--force-channels-last", "--use-split-cross-attention", "--use-quad-cross-attention", "--cache-none",
    "--cache-lru 10",
)  # fmt: skip
GPU_ONLY = ("--lowvram", "--novram")
TOLERANCE = 0.05  # beyond twice what the option changes without an adapter
FAMILY = "SDXL"


def main() -> int:
    """Exit status: 1 where an option changes more than it may, changes nothing though it should, or fails."""
    parser = argparse.ArgumentParser("python -m benchmarks.options", description=__doc__.split("\n")[0])
    gpu = GPU_ONLY if torch.cuda.is_available() else ()
    parser.add_argument("options", nargs="*", default=[*OPTIONS, *gpu])
    given = parser.parse_args()
    usual, has_failed = latents(""), False
    print("| option | with the adapter | without |\n| --- | --- | --- |")
    for option in given.options:
        try:
            found = latents(option)
        except RuntimeError as error:
            print(f"| {option} | {str(error).splitlines()[0][:120]} | |", flush=True)
            has_failed = True
            continue
        adapted, plain = (float((a - b).square().mean().sqrt() / b.std()) for a, b in zip(found, usual, strict=True))
        print(f"| {option} | {shown(adapted)} | {shown(plain)} |", flush=True)
        has_failed |= not adapted - 2 * plain <= TOLERANCE or (option in PRECISIONS and not plain)
    effect = float((usual[0] - usual[1]).square().mean().sqrt() / usual[1].std())
    print(f"\nThe adapter itself changes the latents by {effect:.2f}.")
    return int(has_failed)


def shown(difference: float) -> str:
    return f"{difference:.1e}" if difference else "the same bits"


def latents(option: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Of a server with an option: with an adapter, and without."""
    with tempfile.TemporaryDirectory(prefix="options") as folder:
        paths = {"custom_nodes": str(ROOT / "tests" / "server" / "custom_nodes"), "iqa_adapter": folder}
        (Path(folder) / "paths.yaml").write_text(json.dumps({"options": paths}))  # JSON is YAML
        write_adapters(Path(folder), (FAMILY,))
        log = Path(folder) / "comfyui.log"
        arguments = ["--extra-model-paths-config", f"{folder}/paths.yaml", "--output-directory", folder]
        with comfyui_runtime.serve(log, *arguments, *option.split()) as address:
            client = Client(address, log)
            return latent(client, graph("last")), latent(client, graph("model"))


def graph(model: str) -> dict:
    """Samples with the output of a node: ``last`` has the adapter, ``model`` not."""
    drawn = soak_graphs.family(Random(1))
    drawn["model"]["inputs"] |= {"family": FAMILY, "as_loaded": True}
    drawn["adapter"]["inputs"]["adapter_name"] = f"{FAMILY}.safetensors"
    drawn["embeds"]["inputs"]["quality"] = 99.0
    drawn["last"]["inputs"] |= {"strength": 1.0, "end_percent": 1.0, "layer_weighting": "all"}
    drawn["sample"]["inputs"] |= {"model": [model, 0], "steps": 8, "cfg": 4.0, "sampler_name": "euler", "seed": 1}
    drawn["save"]["inputs"]["filename_prefix"] = model
    return drawn


def latent(client: Client, graph: dict) -> torch.Tensor:
    """What its node ``save`` saves."""
    saved = client.outputs_of(graph)["save"]["latents"][0]
    return load_file(client.log.parent / saved["subfolder"] / saved["filename"])["latent_tensor"].float()


if __name__ == "__main__":
    sys.exit(main())
