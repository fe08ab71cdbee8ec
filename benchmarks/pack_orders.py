"""A node of another pack before and after ours in one graph: whether both act, and whether the order matters.

    python -m benchmarks.pack_orders FOLDER/ComfyUI_IPAdapter_plus FOLDER/ComfyUI-TiledDiffusion ...

Each pack's node works with random weights: a narrow SD1.5, or the quickstart where a node wants pictures. Prints the
root mean square by which latents differ, in their standard deviations. There is one order for nodes that sample
themselves, load the model (what a loader changes is beside ComfyUI's own, with the same weights) or have no model.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random

import torch

import comfyui_runtime
from comfyui_client import Client

from . import soak_graphs
from .options import latent
from .pack_files import FAMILY, TEXT_WIDTH, write_files
from .soak import ROOT
from .soak_graphs import node

ACTS, SAME = 1e-3, 1e-4  # standard deviations
OURS = "ours"


def main() -> int:
    """Exit status: 1 where ours does not act beside another pack's node, or the order matters."""
    parser = argparse.ArgumentParser("python -m benchmarks.pack_orders", description=__doc__.split("\n")[0])
    parser.add_argument("packs", nargs="+", type=Path, help="folders of packs")
    given = parser.parse_args()
    unknown = [pack.name for pack in given.packs if pack.name not in PACKS]
    if unknown:
        parser.error(f"no graph is known for {', '.join(unknown)}; there are graphs for {', '.join(PACKS)}")
    with tempfile.TemporaryDirectory(prefix="orders") as folder:
        place = Path(folder)
        (place / "nodes").mkdir()
        for pack in given.packs:
            (place / "nodes" / pack.name).symlink_to(pack.resolve())
        files = write_files(place, [pack.name for pack in given.packs]) | {"custom_nodes": str(place / "nodes")}
        own = {"custom_nodes": str(ROOT / "tests" / "server" / "custom_nodes")}
        (place / "paths.yaml").write_text(json.dumps({"files": files, "own": own}))  # JSON is YAML
        arguments = ["--extra-model-paths-config", f"{folder}/paths.yaml", "--output-directory", folder]
        with comfyui_runtime.serve(place / "log", *arguments, "--input-directory", folder) as address:
            client = Client(address, place / "log")
            print("| pack | it changes | ours changes beside it | the orders differ by |\n| --- | --- | --- | --- |")
            results = [_report(pack.name, client) for pack in given.packs]
    return int(not all(results))


def _report(pack: str, client: Client) -> bool:
    """Prints a line; whether ours acts and the orders are the same."""
    graph, orders = PACKS[pack]
    known = client.get("/object_info")
    try:
        found = {order: latent(client, _complete(graph(order), known, order)) for order in orders}
    except (RuntimeError, KeyError) as error:
        print(f"| {pack} | failed: {str(error).splitlines()[0][:150]} | | |", flush=True)
        return False
    none, theirs, both, *turned = found.values()

    def differ(a: torch.Tensor, b: torch.Tensor) -> float:
        return float((a - b).square().mean().sqrt() / none.std())

    order = f"{differ(both, turned[0]):.1e}" if turned else "one order"
    print(f"| {pack} | {differ(theirs, none):.1e} | {differ(both, theirs):.1e} | {order} |", flush=True)
    return differ(both, theirs) > ACTS and (not turned or differ(both, turned[0]) < SAME)


def _complete(graph: dict, known: dict, order: Sequence[str]) -> dict:
    """With defaults for what nodes require and the graph leaves out, and a name of its own for what is saved."""
    for each in graph.values():
        for name, declared in known[each["class_type"]]["input"].get("required", {}).items():
            options = declared[1] if len(declared) > 1 else {}
            choices = declared[0] if isinstance(declared[0], list) else options.get("options", [None])
            each["inputs"].setdefault(name, options.get("default", choices[0] if choices else None))
    graph["save"]["inputs"]["filename_prefix"] = "_".join(order) or "plain"
    return graph


# Graphs


def patched(theirs: Callable[[list], dict], batch: int = 1, side: int = 128) -> Callable[[Sequence[str]], dict]:
    """A graph whose model gets a pack's node, ours, or both, in an order.

    Args:
        theirs: nodes by name, of which ``theirs`` gives the model, from the link of a model.
    """

    def graph(order: Sequence[str]) -> dict:
        made, last = _narrow(batch, side), ["model", 0]
        for each in order:
            if each == OURS:
                made[OURS] = node("IQAAdapterApply", model=last, iqa_embeds=["embeds", 0], strength=1.0)
            else:
                made |= theirs(last)
            last = [each, 0]
        made["sample"]["inputs"]["model"] = last
        return made

    return graph


def _narrow(batch: int, side: int) -> dict:
    graph = soak_graphs.family(Random(1))
    graph["model"]["inputs"]["family"] = FAMILY
    graph["adapter"]["inputs"]["adapter_name"] = f"{FAMILY}.safetensors"
    graph["embeds"]["inputs"]["quality"] = 99.0
    graph["latent"] = soak_graphs.empty(batch, side)
    graph["sample"]["inputs"] |= {"steps": 2, "cfg": 4.0, "sampler_name": "euler", "seed": 1}
    del graph["last"]
    return graph


def conditioned(theirs: Callable[[], dict]) -> Callable[[Sequence[str]], dict]:
    """A graph whose texts get a pack's node, and whose model ours.

    Args:
        theirs: nodes by name, of which ``theirs`` gives positive and negative.
    """

    def graph(order: Sequence[str]) -> dict:
        made = _adapted(order)
        if "theirs" in order:
            made |= theirs()
            made["sample"]["inputs"] |= {"positive": ["theirs", 0], "negative": ["theirs", 1]}
        return made

    return graph


def loaded(order: Sequence[str]) -> dict:
    """A graph whose model is loaded by ComfyUI, or from a quantised file by a pack's node."""
    made = _adapted(order)
    made["adapter"]["inputs"]["adapter_name"] = "wide.safetensors"
    made["model"]["inputs"]["text_width"] = TEXT_WIDTH
    made["loaded"] = node("UNETLoader", unet_name="random.safetensors")
    if "theirs" in order:
        made["loaded"] = node("UnetLoaderGGUF", unet_name="random.gguf")
    made[OURS if OURS in order else "sample"]["inputs"]["model"] = ["loaded", 0]
    return made


def _adapted(order: Sequence[str]) -> dict:
    """A graph whose model gets ours where the order names it."""
    return patched(lambda model: {})([each for each in order if each == OURS])


def sampled(theirs: Callable[[str], dict]) -> Callable[[Sequence[str]], dict]:
    """A graph of the quickstart whose picture a pack's node samples again, with ours on its model or without.

    Args:
        theirs: nodes by name, of which ``again`` gives the picture, from the name of the model's node.
    """

    def graph(order: Sequence[str]) -> dict:
        made = soak_graphs.score(Random(1))
        kept = ("model", "text", "none", "sample", "image", "adapter", "embeds")
        made = {name: made[name] for name in kept}
        made["embeds"]["inputs"] |= {"quality": 99.0, "negative_strength": 0.0}
        made["model"]["inputs"]["batch_size"] = 1
        made["sample"]["inputs"] |= {"model": ["model", 0], "steps": 4, "cfg": 4.0, "sampler_name": "euler", "seed": 1}
        made[OURS] = node("IQAAdapterApply", model=["model", 0], iqa_embeds=["embeds", 0], strength=1.0)
        if "theirs" in order:
            made |= theirs(OURS if OURS in order else "model")
        image = ["again" if "theirs" in order else "image", 0]
        made["encoded"] = node("VAEEncode", pixels=image, vae=["model", 2])
        made["save"] = node("SaveLatent", samples=["encoded", 0])
        return made

    return graph


def _ipadapter(model: list) -> dict:
    return {
        "weights": node("IPAdapterModelLoader", ipadapter_file="random.safetensors"),
        "asked": node("IPAdapterLoadEmbeds", embeds="asked.ipadpt"),
        "nothing": node("IPAdapterLoadEmbeds", embeds="nothing.ipadpt"),
        "theirs": node("IPAdapterEmbeds", model=model, ipadapter=["weights", 0], pos_embed=["asked", 0],
                       neg_embed=["nothing", 0]),
    }  # fmt: skip


def _windows(model: list) -> dict:
    return {
        "windows": node("ADE_LoopedUniformContextOptions", context_length=4, context_overlap=1),
        "theirs": node("ADE_UseEvolvedSampling", model=model, context_options=["windows", 0]),
    }


def _tiles(model: list) -> dict:
    return {"theirs": node("TiledDiffusion", model=model, tile_width=128, tile_height=128, tile_overlap=32)}


def _referenced() -> dict:
    return {
        "picture": node("EmptyImage", width=128, height=128, color=0x3366CC),
        "vae": node("VAELoader", vae_name="taesd"),
        "encoded": node("ACN_ReferencePreprocessor", image=["picture", 0], vae=["vae", 0], latent_size=["latent", 0]),
        "control": node("ACN_ReferenceControlNet", reference_type="reference_attn+adain"),
        "theirs": node("ACN_AdvancedControlNetApply_v2", positive=["model", 1], negative=["model", 2],
                       control_net=["control", 0], image=["encoded", 0]),
    }  # fmt: skip


def _again(model: str) -> dict:
    """Inputs of nodes that sample a picture again."""
    return {"image": ["image", 0], "model": [model, 0], "vae": ["model", 2], "positive": ["text", 0],
            "negative": ["none", 0], "steps": 4, "cfg": 4.0, "sampler_name": "euler", "denoise": 0.6}  # fmt: skip


def _upscaled(model: str) -> dict:
    inputs = {**_again(model), "upscaled_image": ["image", 0], "tile_width": 64, "tile_height": 64}
    del inputs["image"]
    return {"again": node("UltimateSDUpscaleNoUpscale", **inputs)}


def _detailed(model: str) -> dict:
    return {
        "mask": node("SolidMask", value=1.0, width=32, height=32),
        "parts": node("MaskToSEGS", mask=["mask", 0]),
        "again": node("DetailerForEach", **_again(model), segs=["parts", 0], clip=["model", 1], guide_size=64,
                      max_size=64, wildcard=""),
    }  # fmt: skip


BOTH = ((), ("theirs",), (OURS, "theirs"), ("theirs", OURS))
PACKS = {
    "ComfyUI_IPAdapter_plus": (patched(_ipadapter), BOTH),
    "ComfyUI-AnimateDiff-Evolved": (patched(_windows, batch=6), BOTH),
    "ComfyUI-Advanced-ControlNet": (conditioned(_referenced), BOTH[:3]),
    "ComfyUI-GGUF": (loaded, BOTH[:3]),
    "ComfyUI-TiledDiffusion": (patched(_tiles, side=192), BOTH),
    "ComfyUI_UltimateSDUpscale": (sampled(_upscaled), BOTH[:3]),
    "ComfyUI-Impact-Pack": (sampled(_detailed), BOTH[:3]),
}


if __name__ == "__main__":
    sys.exit(main())
