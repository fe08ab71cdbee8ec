"""Checkpoints that everyone has, with what every workflow puts behind them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ..workflow import Node, Output

SD15_SIZE, SDXL_SIZE = 512, 1024  # pixels
SD15_ADAPTER, SD15_REFERENCE_ADAPTER = "my_adapter.safetensors", "my_reference_adapter.safetensors"
SDXL_ADAPTER, SDXL_METRICS = "topiq_laion.safetensors", "topiq_nr, laion_aes"
HUGGING_FACE = "https://huggingface.co"
BOAT = "a fishing boat in a harbour at dawn, photograph"
NEGATIVE = "text, watermark"


@dataclass(frozen=True)
class Drawing:
    """What draws a picture, as nodes.

    Attributes:
        loaders: from top to bottom; the first gives the model.
        vae: the node that gives it.
        written: nodes of the prompt, from top to bottom.
        texts: of these, those that give prompt and negative prompt.
        latent: the empty one.
        sampling: what its KSampler has otherwise than those of checkpoints.
    """

    loaders: list[Node]
    vae: Node
    written: list[Node]
    texts: tuple[Node, Node]
    latent: Node
    sampling: Mapping = field(default_factory=dict)

    @property
    def model(self) -> Output:
        return self.loaders[0]["MODEL"]

    def sampled(self, title: str, model: Output) -> Node:
        """A KSampler with a model that may be another than the loaded one."""
        return sampled(title, model, self.texts, self.latent["LATENT"], **self.sampling)


def drawing(checkpoint: Node, size: int) -> Drawing:
    """Of a boat, with a checkpoint, at a size in pixels."""
    texts = prompts(checkpoint, BOAT)
    return Drawing([checkpoint], checkpoint, list(texts), texts, empty(size))


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


def compared(before: Node, after: Node, title: str = "") -> Node:
    """Before and after, to drag the edge between them."""
    return Node("IQACompare", title, before=before["IMAGE"], after=after["IMAGE"]).sized(480, 520)
