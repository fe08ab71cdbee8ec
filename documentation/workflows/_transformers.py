"""Flux and Z-Image: their files, and the workflows that both of them have."""

from ..workflow import Node, Workflow
from ._checkpoints import BOAT, HUGGING_FACE, Drawing
from ._sliders import sliders, transfer
from ._without_adapter import without_adapter

SIZE = 1024  # pixels
FLUX, Z_IMAGE = "Flux", "Z-Image"
DISTILLED = {"cfg": 1.0, "scheduler": "simple"}
FLUX_SAMPLING = {**DISTILLED, "steps": 20, "sampler_name": "euler"}
Z_IMAGE_SAMPLING = {**DISTILLED, "steps": 9, "sampler_name": "res_multistep"}


def flux() -> Drawing:
    files = f"{HUGGING_FACE}/comfyanonymous/flux_text_encoders/resolve/main"
    clip, t5 = "clip_l.safetensors", "t5xxl_fp16.safetensors"
    encoder = Node("DualCLIPLoader", "Text encoders", clip_name1=clip, clip_name2=t5, type="flux")
    for name in (clip, t5):
        encoder.download(name, "text_encoders", f"{files}/{name}")
    vae = _vae(f"{HUGGING_FACE}/Comfy-Org/Lumina_Image_2.0_Repackaged/resolve/main/split_files/vae")
    prompt = _prompt(encoder)
    guided = Node("FluxGuidance", conditioning=prompt["CONDITIONING"], guidance=3.5)
    model = _model("flux1-dev.safetensors", f"{HUGGING_FACE}/Comfy-Org/flux1-dev/resolve/main")
    return _drawing([model, encoder, vae], [prompt, guided], FLUX_SAMPLING)


def z_image() -> Drawing:
    files = f"{HUGGING_FACE}/Comfy-Org/z_image_turbo/resolve/main/split_files"
    name = "qwen_3_4b.safetensors"
    encoder = Node("CLIPLoader", "Text encoder", clip_name=name, type="lumina2")
    encoder.download(name, "text_encoders", f"{files}/text_encoders/{name}")
    model = _model("z_image_turbo_bf16.safetensors", f"{files}/diffusion_models")
    return _drawing([model, encoder, _vae(f"{files}/vae")], [_prompt(encoder)], Z_IMAGE_SAMPLING)


DRAWINGS = {FLUX: flux, Z_IMAGE: z_image}


def _model(name: str, folder: str) -> Node:
    return Node("UNETLoader", unet_name=name).download(name, "diffusion_models", f"{folder}/{name}")


def _vae(folder: str) -> Node:
    name = "ae.safetensors"
    return Node("VAELoader", vae_name=name).download(name, "vae", f"{folder}/{name}")


def _prompt(encoder: Node) -> Node:
    return Node("CLIPTextEncode", "Prompt", clip=encoder["CLIP"], text=BOAT).sized(340, 120)


def _drawing(loaders: list[Node], written: list[Node], sampling: dict) -> Drawing:
    """Both are distilled: at cfg 1 the negative prompt, which KSampler asks for, has no effect."""
    negative = Node("ConditioningZeroOut", "No negative prompt", conditioning=written[0]["CONDITIONING"])
    latent = Node("EmptySD3LatentImage", width=SIZE, height=SIZE, batch_size=1)
    return Drawing(loaders, loaders[-1], [*written, negative], (written[-1], negative), latent, sampling)


def prefix(family: str) -> str:
    """Of file names."""
    return family.lower().replace("-", "_")


def _about(family: str, kind: str) -> str:
    return f"No adapter for {family} is public yet. *train_{kind}_adapter* makes one with these loaders."


def quality_sliders(family: str) -> Workflow:
    """At the quality asked for, beside the one without the adapter."""
    name = prefix(family)
    about, shown = _about(family, "score"), {"quality": 99.0, "aesthetics": 50.0}
    return sliders(DRAWINGS[family](), f"my_{name}_adapter.safetensors", "", about, f"{name}_quality", shown)


def reference_transfer(family: str) -> Workflow:
    """With the quality of a photo, beside the one without the adapter."""
    name = prefix(family)
    adapter = f"my_{name}_reference_adapter.safetensors"
    return transfer(DRAWINGS[family](), adapter, _about(family, "reference"), f"{name}_reference")


def search_and_guidance(family: str) -> Workflow:
    """Without an adapter."""
    about = f"Needs no adapter: none for {family} is public yet. Two ways to better pictures."
    return without_adapter(DRAWINGS[family](), about, prefix(family))
