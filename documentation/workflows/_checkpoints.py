"""Checkpoints that everyone has, with what every workflow puts behind them."""

from ..workflow import Node, Output

SD15_SIZE, SDXL_SIZE = 512, 1024  # pixels
SD15_ADAPTER, SD15_REFERENCE_ADAPTER = "my_adapter.safetensors", "my_reference_adapter.safetensors"
SDXL_ADAPTER, SDXL_METRICS = "topiq_laion.safetensors", "topiq_nr, laion_aes"
HUGGING_FACE = "https://huggingface.co"
NEGATIVE = "text, watermark"


def sd15() -> Node:
    name = "v1-5-pruned-emaonly-fp16.safetensors"
    address = f"{HUGGING_FACE}/Comfy-Org/stable-diffusion-v1-5-archive/resolve/main/{name}"
    return Node("CheckpointLoaderSimple", ckpt_name=name).download(name, "checkpoints", address)


def sdxl() -> Node:
    name = "sd_xl_base_1.0.safetensors"
    address = f"{HUGGING_FACE}/stabilityai/stable-diffusion-xl-base-1.0/resolve/main/{name}"
    return Node("CheckpointLoaderSimple", ckpt_name=name).download(name, "checkpoints", address)


def sdxl_quality(checkpoint: Node, preset: str, **asked) -> Node:
    """*Quality (simple)* with the authors' adapter.

    Args:
        asked: quality and aesthetics, where the preset is custom.
    """
    given = {"preset": preset, **asked, "strength": 1.0, "metrics": SDXL_METRICS}
    return Node("IQAQuality", model=checkpoint["MODEL"], adapter_name=SDXL_ADAPTER, **given)


def photo(title: str) -> Node:
    """A picture of the user's."""
    return Node("LoadImage", title, image="example.png").sized(340, 400)


def of_size(picture: Node, size: int) -> Node:
    """A picture as large as those of the model."""
    given = {"upscale_method": "lanczos", "width": size, "height": size, "crop": "center"}
    return Node("ImageScale", "To the model's size", image=picture["IMAGE"], **given)


def prompts(checkpoint: Node, text: str) -> tuple[Node, Node]:
    """Prompt and negative prompt."""
    positive = Node("CLIPTextEncode", "Prompt", clip=checkpoint["CLIP"], text=text).sized(340, 120)
    negative = Node("CLIPTextEncode", "Negative prompt", clip=checkpoint["CLIP"], text=NEGATIVE).sized(340, 100)
    return positive, negative


def empty(size: int) -> Node:
    return Node("EmptyLatentImage", width=size, height=size, batch_size=1)


def sampled(title: str, model: Output, texts: tuple[Node, Node], latent: Output, **inputs) -> Node:
    """A KSampler; all of a workflow start from the same seed."""
    positive, negative = (text["CONDITIONING"] for text in texts)
    given = {"seed": 1, "steps": 25, "cfg": 6.0, "sampler_name": "dpmpp_2m", "scheduler": "karras", "denoise": 1.0}
    given |= {"model": model, "positive": positive, "negative": negative, "latent_image": latent, **inputs}
    return Node("KSampler", title, **given)


def decoded(sampler: Node, checkpoint: Node) -> Node:
    return Node("VAEDecode", samples=sampler["LATENT"], vae=checkpoint["VAE"])


def compared(before: Node, after: Node) -> Node:
    """Before and after, to drag the edge between them."""
    return Node("IQACompare", before=before["IMAGE"], after=after["IMAGE"]).sized(480, 520)
