"""A search on the quickstart, as two workflows begin."""

from __future__ import annotations

from ..workflow import Node


def search(**settings) -> tuple[tuple[Node, ...], tuple[Node, Node], Node]:
    """Model, prompt, negative prompt, metric and the one set aside; sampler and sigmas; the search."""
    model = Node("IQAQuickstartModel", batch_size=1)
    prompt = Node("CLIPTextEncode", "Prompt", clip=model["CLIP"], text="a dotted pink ring on teal stripes").sized(
        340, 120
    )
    negative = Node("CLIPTextEncode", "Negative prompt", clip=model["CLIP"], text="").sized(340, 100)
    judge = Node("IQAModelLoader", "Metric", metric="quickstart_iqa")
    aside = Node("IQAModelLoader", "Set aside", metric="piqe")
    sampler = Node("KSamplerSelect", sampler_name="dpmpp_2m")
    sigmas = Node("BasicScheduler", model=model["MODEL"], scheduler="karras", steps=12, denoise=1.0)
    found = Node(
        "IQASearch",
        iqa_model=judge["iqa_model"],
        check_with=aside["iqa_model"],
        sampler=sampler["SAMPLER"],
        sigmas=sigmas["SIGMAS"],
        latent_image=model["LATENT"],
        vae=model["VAE"],
        model=model["MODEL"],
        positive=prompt["CONDITIONING"],
        negative=negative["CONDITIONING"],
        cfg=3.0,
        batch_size=4,
        **settings,
    )
    return (model, prompt, negative, judge, aside), (sampler, sigmas), found


def drawn_by(noise: Node, guider: Node, sampler: Node, sigmas: Node, model: Node) -> Node:
    """A sampling of its own."""
    return Node(
        "SamplerCustomAdvanced",
        noise=noise["NOISE"],
        guider=guider["GUIDER"],
        sampler=sampler["SAMPLER"],
        sigmas=sigmas["SIGMAS"],
        latent_image=model["LATENT"],
    )
