"""Cost of the quality attention at true shapes, beside the unpatched model and the public way of doing it.

    python -m benchmarks.attention              # everything; the whole forward needs about 8 GB
    python -m benchmarks.attention --no-forward # single layers, slider and file only

"projected in every call" is decoupled cross-attention as public implementations have it: W'_k and W'_v are resident
and multiply the tokens in every layer of every step. On a CPU the times are those that the process computed, so that
other work beside it counts for none.
"""

from __future__ import annotations

import argparse
import dataclasses
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

from benchmarks import attention_transformers
from benchmarks.measure import peak_memory, side_by_side, table
from comfyui_runtime import load_pack
from iqa_adapter.adapter import attention, checkpoint, metadata, projection
from iqa_adapter.adapter.adapter import Adapter, LayerWeights
from iqa_adapter.adapter.apply import apply_adapter
from iqa_adapter.adapter.attention import optimized_attention
from iqa_adapter.adapter.call import RUN, Run
from iqa_adapter.adapter.sites import sites
from iqa_adapter.adapter.tokens import embed_quality

CONTEXT, TOKENS, TEXT = 2048, 2, 77
LAYERS = {"640 wide, 4096 pixels": (640, 10, 4096), "1280 wide, 1024 pixels": (1280, 20, 1024)}  # width, heads, pixels
SDXL = {
    "image_size": 32,
    "in_channels": 4,
    "out_channels": 4,
    "model_channels": 320,
    "num_res_blocks": [2, 2, 2],
    "channel_mult": [1, 2, 4],
    "transformer_depth": [0, 0, 2, 2, 10, 10],
    "transformer_depth_middle": 10,
    "transformer_depth_output": [0, 0, 0, 2, 2, 2, 10, 10, 10],
    "use_spatial_transformer": True,
    "use_linear_in_transformer": True,
    "legacy": False,
    "num_classes": "sequential",
    "adm_in_channels": 2816,
    "context_dim": CONTEXT,
    "num_head_channels": 64,
    "use_temporal_attention": False,
    "use_temporal_resblock": False,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--no-forward", action="store_true", help="skip the whole SDXL forward")
    parser.add_argument("--size", type=int, default=64, help="side of the latent of the whole forward (128 = 1024 px)")
    parser.add_argument("--rounds", type=int, default=15, help="turns per candidate of the single layers")
    options = parser.parse_args()
    load_pack()
    import comfy.model_management

    device = comfy.model_management.get_torch_device()
    dtype = torch.float16 if device.type == "cuda" else torch.bfloat16
    print(f"device {device}, {dtype}, {torch.get_num_threads()} threads; ratios of medians, lower is better\n")
    with torch.inference_mode():
        print(one_layer(device, dtype, options.rounds), "\n")
        model = sdxl(device, dtype)
        adapter = random_adapter(model, dtype)
        if not options.no_forward:
            print(whole_forward(model, adapter, device, dtype, options.size), "\n")
        print(slider(model, adapter), "\n")
        print(
            attention_transformers.layers(device, dtype, -(-options.rounds // 5), clock(device), ratios, RATIOS), "\n"
        )
        print(attention_transformers.resident(dtype), "\n")
    print(loading(adapter))


def one_layer(device: torch.device, dtype: torch.dtype, rounds: int) -> str:
    """One cross-attention layer on two rows (conditional and unconditional) of a 1024x1024 picture."""
    rows = [
        [
            name,
            *ratios(side_by_side(layer_candidates(width, heads, pixels, Draw(device, dtype)), rounds, clock(device))),
        ]
        for name, (width, heads, pixels) in LAYERS.items()
    ]
    return table(["one layer, 1024 px", *RATIOS], rows)


def layer_candidates(width: int, heads: int, pixels: int, draw: Draw) -> dict[str, Callable]:
    q, k, v = draw(2, pixels, width), draw(2, TEXT, width), draw(2, TEXT, width)
    tokens, to_k, to_v = draw(2, TOKENS, CONTEXT), draw(width, CONTEXT), draw(width, CONTEXT)
    keys, values = ((tokens @ to.T).unflatten(-1, (heads, -1)).transpose(1, 2) for to in (to_k, to_v))
    options = {"n_heads": heads, "attn_precision": None}
    projected = Projected(tokens, to_k, to_v)

    def ours() -> torch.Tensor:
        out = attention.own_attention(q, k, v, options)
        return attention.attend(out, q, keys, values, 1.0, options)

    return {
        "unpatched": lambda: attention.optimized_attention(q, k, v, heads),
        "projected in every call": lambda: projected(q, k, v, options),
        "ours": ours,
    }


def whole_forward(model, adapter, device: torch.device, dtype: torch.dtype, size: int) -> str:
    """The whole SDXL UNet on two rows, and what stays on the device for it."""
    quality, run = tokens_of(adapter, 1.0), Run()
    patched, base = apply_adapter(model, quality), model.model
    draw = Draw(device, dtype)
    x, text, adm = draw(2, 4, size, size), draw(2, TEXT, CONTEXT), draw(2, 2816)
    tokens, projected = torch.cat([quality.uncond, quality.cond]).to(device, dtype), {"patches_replace": {}}
    for site, weights in zip(sites(base.diffusion_model), adapter.layers, strict=True):
        there = Projected(tokens, weights.key.to(device), weights.value.to(device))
        site.install(projected, lambda _, there=there: there)
    ours = patched.model_options["transformer_options"] | {"wrappers": patched.wrappers, RUN: run}
    candidates = {
        "unpatched": {},
        "projected in every call": projected,
        "ours": ours,
    }
    sigma = torch.full((2,), 3.0, device=device)
    seconds = side_by_side(
        {
            name: lambda options=options: base.apply_model(
                x, sigma, c_crossattn=text, y=adm, transformer_options={"cond_or_uncond": [1, 0], **options}
            )
            for name, options in candidates.items()
        },
        rounds=3,
        clock=clock(device),
    )
    weights = sum(layer.key.nbytes + layer.value.nbytes for layer in adapter.layers)
    resident = [
        ["projected in every call", f"{weights / 2**20:.2f} MiB"],
        ["ours", f"{sum(kept.nbytes for kept in run.memory.values()) / 2**20:.2f} MiB"],
    ]
    forward = table([f"whole forward, {8 * size} px", *RATIOS], [["SDXL, 70 layers", *ratios(seconds)]])
    return forward + "\n\n" + table(["resident while sampling", "bytes"], resident)


def slider(model, adapter) -> str:
    """From a moved slider to a patched model."""
    tokens, values = tokens_of(adapter, 0.0), iter(range(1, 1000))
    apply_adapter(model, tokens)
    seconds = side_by_side(
        {
            "strength moved": lambda: apply_adapter(model, tokens),
            "quality moved": lambda: apply_adapter(model, tokens_of(adapter, next(values) / 100)),
        },
        rounds=7,
    )
    return table(["slider to patched model", "seconds"], [[name, f"{value:.3f}"] for name, value in seconds.items()])


def loading(adapter) -> str:
    """Time and peak memory of opening the file and computing K', V' once."""
    with tempfile.TemporaryDirectory() as folder:
        ours, pickled = Path(folder) / "adapter.safetensors", Path(folder) / "adapter.bin"
        checkpoint.save_adapter(adapter, ours)
        groups = {"image_proj": adapter.projection.state_dict(), "ip_adapter": {}}
        for number, layer in enumerate(adapter.layers):
            groups["ip_adapter"][f"{2 * number + 1}.to_k_ip.weight"] = layer.key
            groups["ip_adapter"][f"{2 * number + 1}.to_v_ip.weight"] = layer.value
        torch.save(groups, pickled)
        size = ours.stat().st_size
        public = (
            "import torch\nmark()\n"
            f"state = torch.load({str(pickled)!r}, map_location='cpu')['ip_adapter']\n"
            "modules = torch.nn.ParameterDict({k.replace('.', '_'): torch.empty_like(v) for k, v in state.items()})\n"
            "modules.load_state_dict({k.replace('.', '_'): v for k, v in state.items()})\nmark()"
        )
        open_ours = (
            "import benchmarks, torch\nfrom iqa_adapter.adapter import checkpoint\nmark()\n"
            f"adapter = checkpoint.load_adapter({str(ours)!r})\n"
        )
        measured = {
            "public way: load, copy into modules": peak_memory(public),
            "ours: open": peak_memory(open_ours + "mark()"),
            "ours: open, compute K', V'": peak_memory(
                open_ours + "adapter.keys_values(torch.zeros(2, adapter.tokens, adapter.width))\nmark()"
            ),
        }
    rows = [
        [name, f"{seconds:.2f}", f"{peak / 2**20:.0f} MiB", f"{peak / size:.2f}"]
        for name, (seconds, peak) in measured.items()
    ]
    return table([f"adapter file of {size / 2**20:.0f} MiB", "seconds", "peak memory", "copies of the file"], rows)


class Projected:
    """Replace patch of the public kind: the tokens are projected in every call."""

    def __init__(self, tokens: torch.Tensor, to_k: torch.Tensor, to_v: torch.Tensor):
        self.tokens, self.to_k, self.to_v = tokens, to_k, to_v
        self.attend = optimized_attention

    def __call__(self, q, k, v, extra_options):
        out = self.attend(q, k, v, extra_options["n_heads"])
        keys = torch.nn.functional.linear(self.tokens, self.to_k)
        values = torch.nn.functional.linear(self.tokens, self.to_v)
        return out + 1.0 * self.attend(q, keys, values, extra_options["n_heads"])


def clock(device: torch.device) -> Callable[[], float]:
    return time.process_time if device.type == "cpu" else time.perf_counter


RATIOS = ["unpatched, ms", "projected in every call", "ours", "ours / projected"]


def ratios(seconds: dict[str, float]) -> list[str]:
    plain, public, ours = seconds["unpatched"], seconds["projected in every call"], seconds["ours"]
    return [f"{1000 * plain:.3g}", f"x {public / plain:.3f}", f"x {ours / plain:.3f}", f"{ours / public:.3f}"]


class Draw:
    """Random tensors on the device, the same in every run."""

    def __init__(self, device: torch.device, dtype: torch.dtype):
        self.device, self.dtype = device, dtype
        self.generator = torch.Generator().manual_seed(0)

    def __call__(self, *shape: int) -> torch.Tensor:
        values = torch.randn(*shape, generator=self.generator) / shape[-1] ** 0.5
        return values.to(self.device, self.dtype)


def sdxl(device: torch.device, dtype: torch.dtype):
    """ComfyUI's SDXL at full width; the weights repeat one random block, which timing does not notice."""
    import comfy.model_patcher
    import comfy.supported_models

    config = comfy.supported_models.SDXL(dict(SDXL))
    config.set_inference_dtype(dtype, None)
    model = config.get_model({}, device=device)
    block = (Draw(device, dtype)(2**20) * 20).clamp(-0.05, 0.05)
    for parameter in model.parameters():
        flat = parameter.data.view(-1)
        for start in range(0, len(flat), len(block)):
            part = flat[start : start + len(block)]
            part.copy_(block[: len(part)])
    return comfy.model_patcher.ModelPatcher(model, load_device=device, offload_device=torch.device("cpu"))


def random_adapter(model, dtype: torch.dtype):
    draw, found = Draw(torch.device("cpu"), torch.float16), sites(model.model.diffusion_model)
    context = found[0].context_width
    weights = tuple(LayerWeights(draw(site.width, context), draw(site.width, context)) for site in found)
    described = metadata.Metadata(metrics=({"name": "topiq_nr"},))
    project = projection.QualityProjection(1, TOKENS, context).requires_grad_(False)
    made = Adapter("random", described, project, weights)
    if dtype == torch.float16:
        return made
    cast = tuple(LayerWeights(layer.key.to(dtype), layer.value.to(dtype)) for layer in weights)
    return dataclasses.replace(made, layers=cast)


def tokens_of(adapter, z: float):
    return embed_quality(adapter, torch.tensor([[z]]))


if __name__ == "__main__":
    main()
