"""Files of random weights that the nodes of other packs want in :mod:`.pack_orders`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from .soak import write_adapter, write_adapters

FAMILY, EMBEDDING = "SD1.5", 64
WIDE = {  # by which ComfyUI's loader knows a SD1.5, whose blocks may be fewer
    "model_channels": 320, "context_dim": 768, "channel_mult": [1, 2], "num_res_blocks": [1, 1],
    "transformer_depth": [1, 1], "transformer_depth_output": [1, 1, 1, 1],
}  # fmt: skip
TEXT_WIDTH = WIDE["context_dim"]


def write_files(folder: Path, packs: Sequence[str]) -> dict[str, str]:
    """Adapters, and what these packs want; the folders of it by ComfyUI's names of them."""
    write_adapters(folder, (FAMILY,))
    kinds = {"iqa_adapter": folder}
    for pack in packs:
        for kind, write in WRITERS.get(pack, {}).items():
            kinds[kind] = folder / kind
            kinds[kind].mkdir()
            write(folder, kinds[kind])
    return {kind: str(place) for kind, place in kinds.items()}


def _write_ipadapter(folder: Path, place: Path) -> None:
    """Layers of the adapter with a projection of embeddings, and two embeddings, in the folder of inputs."""
    weights = load_file(folder / f"{FAMILY}.safetensors")
    width, generator = weights["ip_adapter.1.to_k_ip.weight"].shape[1], torch.Generator().manual_seed(0)
    projection = {"proj.weight": torch.randn(4 * width, EMBEDDING, generator=generator) / EMBEDDING**0.5,
                  "proj.bias": torch.zeros(4 * width), "norm.weight": torch.ones(width),
                  "norm.bias": torch.zeros(width)}  # fmt: skip
    layers = {name: value for name, value in weights.items() if name.startswith("ip_adapter.")}
    save_file(
        layers | {f"image_proj.{name}": value for name, value in projection.items()}, place / "random.safetensors"
    )
    torch.save(torch.randn(1, EMBEDDING, generator=generator), folder / "asked.ipadpt")
    torch.save(torch.zeros(1, EMBEDDING), folder / "nothing.ipadpt")


def _write_autoencoder(folder: Path, place: Path) -> None:
    """A TAESD of SD1.5, which ComfyUI's loader has as ``taesd``."""
    import models
    from comfy.taesd.taesd import Decoder, Encoder

    for name, net in (("encoder", Encoder()), ("decoder", Decoder())):
        models.randomise(net)
        save_file(net.state_dict(), place / f"taesd_{name}.safetensors")


def _write_quantised(folder: Path, place: Path) -> None:
    """A UNet as ``random.gguf``, its linear layers in Q8_0, and as ``random.safetensors``; an adapter, ``wide``."""
    import gguf
    import models

    model = models.comfy_model(FAMILY, **WIDE)
    write_adapter(folder / "wide.safetensors", model)
    weights = model.model.diffusion_model.state_dict()
    save_file(weights, place / "random.safetensors")
    writer = gguf.GGUFWriter(place / "random.gguf", "sd1")
    for name, value in weights.items():
        kind = {1: "F32", 2: "Q8_0"}.get(value.ndim, "F16")
        kind = gguf.GGMLQuantizationType[kind]
        writer.add_tensor(name, gguf.quants.quantize(value.numpy(), kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


WRITERS = {
    "ComfyUI_IPAdapter_plus": {"ipadapter": _write_ipadapter},
    "ComfyUI-Advanced-ControlNet": {"vae_approx": _write_autoencoder},
    "ComfyUI-GGUF": {"diffusion_models": _write_quantised},
}
