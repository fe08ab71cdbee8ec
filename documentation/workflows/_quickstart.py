"""Prompt, sampler and activations of the workflows that draw with the quickstart's model."""

from __future__ import annotations

from ..workflow import Node

SAMPLING = {"seed": 1, "steps": 16, "cfg": 3.0, "sampler_name": "dpmpp_2m", "scheduler": "karras"}


def written(model: Node) -> tuple[Node, Node]:
    """A prompt that the model knows, and an empty negative one."""
    prompt = Node("CLIPTextEncode", "Prompt", clip=model["CLIP"], text="a dotted pink ring on teal stripes")
    return prompt.sized(340, 110), Node("CLIPTextEncode", "Negative prompt", clip=model["CLIP"]).sized(340, 90)


def sampled(title: str, model: Node, texts: tuple[Node, Node], latent: Node, **settings) -> Node:
    """A sampling.

    Args:
        title: of the node; empty takes the one of its kind.
        model, latent: nodes with such an output.
        texts: of :func:`written`.
        settings: that differ from ``SAMPLING``.
    """
    prompt, negative = texts
    return Node(
        "KSampler",
        title,
        model=model["MODEL"],
        positive=prompt["CONDITIONING"],
        negative=negative["CONDITIONING"],
        latent_image=latent["LATENT"],
        **(SAMPLING | settings),
    )


def activations(title: str, judge: Node, pictures: Node, adapter: Node) -> Node:
    """What an IQA model sees in reference pictures, at the size of the quickstart's; as :func:`sampled`."""
    return Node(
        "IQAReferenceFeatures",
        title,
        iqa_model=judge["iqa_model"],
        images=pictures["IMAGE"],
        iqa_adapter=adapter["iqa_adapter"],
        protocol="64",
    )
