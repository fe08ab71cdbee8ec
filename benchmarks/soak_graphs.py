"""Graphs that a long night could hold, drawn at random; see :mod:`.soak`."""

from __future__ import annotations

from random import Random

FAMILIES = ("SD1.5", "SDXL", "SSD-1B")  # of the narrow models of the tests
PROMPTS = ("a dotted pink ring on teal stripes", "a blue square", "a red circle on beige fabric")


def node(kind: str, **inputs) -> dict:
    return {"class_type": kind, "inputs": inputs}


def plain(prefix: str) -> dict:
    """Without a node of the pack; its latent is saved."""
    graph = {"model": node("TestTinyModel", family="SD1.5"), "latent": empty(1, 128)}
    graph["sample"] = sampler("model", ["model", 1], ["model", 2], ["latent", 0], Random(0), steps=3)
    graph["save"] = node("SaveLatent", samples=["sample", 0], filename_prefix=prefix)
    return graph


def probe(number: int) -> dict:
    return {"probe": node("TestProbe", number=number)}


def drawn(rng: Random) -> tuple[str, dict]:
    """One of the kinds below, with other numbers each time."""
    kind = rng.choice((*KINDS, "score"))
    return kind, KINDS[kind](rng)


def control(rng: Random) -> tuple[str, dict]:
    """A narrow model without a node of the pack, with other numbers each time."""
    graph = {"model": node("TestTinyModel", family=rng.choice(FAMILIES)), "latent": empty(rng.choice((1, 2, 4)), 128)}
    graph["sample"] = sampler("model", ["model", 1], ["model", 2], ["latent", 0], rng)
    graph["save"] = node("SaveLatent", samples=["sample", 0], filename_prefix="soak")
    return "control", graph


def empty(batch: int, side: int) -> dict:
    return node("EmptyLatentImage", width=side, height=side, batch_size=batch)


def sampler(model: str, positive: list, negative: list, latent: list, rng: Random, steps: int = 0) -> dict:
    return node(
        "KSampler", model=[model, 0], positive=positive, negative=negative, latent_image=latent,
        seed=rng.randrange(2**32), steps=steps or rng.randint(1, 5), cfg=rng.choice((1.0, 3.0, 5.0)),
        sampler_name=rng.choice(("euler", "dpmpp_2m", "euler_ancestral")), scheduler="normal", denoise=1.0,
    )  # fmt: skip


def apply(model: str, embeds: str, rng: Random) -> dict:
    end = rng.choice((1.0, 1.0, 0.6))
    return node(
        "IQAAdapterApply", model=[model, 0], iqa_embeds=[embeds, 0], strength=rng.choice((0.0, 0.5, 1.0, -1.0)),
        start_percent=0.0, end_percent=end, layer_weighting=rng.choice(("all", "all", "input", "output"))
    )  # fmt: skip


def quickstart(rng: Random) -> dict:
    """Model, prompt, and what follows the sampling of ``last``."""
    return {
        "model": node("IQAQuickstartModel", batch_size=rng.choice((1, 2, 4))),
        "text": node("CLIPTextEncode", clip=["model", 1], text=rng.choice(PROMPTS)),
        "none": node("CLIPTextEncode", clip=["model", 1], text=""),
        "sample": sampler("last", ["text", 0], ["none", 0], ["model", 3], rng),
        "image": node("VAEDecode", samples=["sample", 0], vae=["model", 2]),
        "preview": node("PreviewImage", images=["image", 0]),
    }


def scoring(image: list, rng: Random) -> dict:
    """Scores of pictures, and the best of them."""
    return {
        "metric": node("IQAModelLoader", metric=rng.choice(("quickstart_iqa", "entropy", "piqe"))),
        "scores": node("IQAScoreImages", images=image, iqa_model=["metric", 0], protocol="as is"),
        "best": node("IQASelectBest", images=image, iqa_scores=["scores", 0], count=1, metric=""),
        "shown": node("PreviewImage", images=["best", 0]),
    }


def score(rng: Random) -> dict:
    graph = quickstart(rng)
    graph |= {
        "adapter": node("IQAAdapterLoader", adapter_name="quickstart_score.safetensors"),
        "embeds": node(
            "IQAQualityEmbed", iqa_adapter=["adapter", 0], quality=rng.choice((1.0, 50.0, 99.0)), aesthetics=50.0,
            negative=rng.choice(("zero", "percentile")), negative_strength=rng.choice((0.0, 0.5)),
        ),
        "last": apply("model", "embeds", rng),
    }  # fmt: skip
    return graph | scoring(["image", 0], rng) if rng.random() < 0.5 else graph


def reference(rng: Random) -> dict:
    graph = quickstart(rng)
    distortion = rng.choice(("motion_blur", "jpeg", "white_noise"))
    return graph | {
        "picture": node("IQAQuickstartPicture", picture="cat", distortion=distortion, severity=rng.random(), seed=0),
        "iqa": node("IQAModelLoader", metric="quickstart_iqa"),
        "adapter": node("IQAAdapterLoader", adapter_name="quickstart_reference.safetensors"),
        "features": node(
            "IQAReferenceFeatures", iqa_model=["iqa", 0], images=["picture", 0], iqa_adapter=["adapter", 0], layer="",
            pooling="auto", protocol="64", references="one by one", weights="",
        ),
        "embeds": node("IQAReferenceEmbed", iqa_adapter=["adapter", 0], iqa_features=["features", 0]),
        "last": apply("model", "embeds", rng),
    }  # fmt: skip


def both(rng: Random) -> dict:
    """Score and reference, one on top of the other."""
    graph, other = score(rng), reference(rng)
    moved = {"adapter": "adapter_2", "embeds": "embeds_2", "last": "last_2"}
    for name in ("picture", "iqa", "adapter", "features", "embeds", "last"):
        inputs = {key: [moved.get(value[0], value[0]), value[1]] if isinstance(value, list) else value
                  for key, value in other[name]["inputs"].items()}  # fmt: skip
        graph[moved.get(name, name)] = node(other[name]["class_type"], **inputs)
    graph["last_2"]["inputs"]["model"] = ["last", 0]
    graph["sample"]["inputs"]["model"] = ["last_2", 0]
    return graph


def guidance(rng: Random) -> dict:
    graph = quickstart(rng)
    return graph | {
        "iqa": node("IQAModelLoader", metric="quickstart_iqa"),
        "last": node(
            "IQAGradientGuidance", model=["model", 0], vae=["model", 2], iqa_model=["iqa", 0],
            scale=rng.choice((0.0, 1.0)), direction=rng.choice(("better", "worse")), start_percent=0.0,
            end_percent=0.8, every=1,
        ),
    }  # fmt: skip


def search(rng: Random) -> dict:
    graph = quickstart(rng)
    del graph["sample"], graph["image"]
    graph["model"]["inputs"]["batch_size"] = 1
    return graph | {
        "iqa": node("IQAModelLoader", metric=rng.choice(("quickstart_iqa", "piqe"))),
        "sampler": node("KSamplerSelect", sampler_name=rng.choice(("euler", "dpmpp_2m"))),
        "sigmas": node("BasicScheduler", model=["model", 0], scheduler="normal", steps=rng.randint(2, 5), denoise=1.0),
        "found": node(
            "IQASearch", iqa_model=["iqa", 0], sampler=["sampler", 0], sigmas=["sigmas", 0], latent_image=["model", 3],
            vae=["model", 2], model=["model", 0], positive=["text", 0], negative=["none", 0], keep=1,
            method=rng.choice(("best of N", "successive halving", "local search")), budget=rng.choice((2, 4, 8)),
            seed=rng.randrange(2**32), batch_size=rng.choice((1, 4)), protocol="as is",
        ),
        "preview": node("PreviewImage", images=["found", 1]),
    }  # fmt: skip


def family(rng: Random) -> dict:
    """A narrow model of one of the families with an adapter that fits it."""
    name = rng.choice(FAMILIES)
    graph = {
        "model": node("TestTinyModel", family=name),
        "adapter": node("IQAAdapterLoader", adapter_name=f"{name}.safetensors"),
        "embeds": node(
            "IQAQualityEmbed", iqa_adapter=["adapter", 0], quality=rng.choice((1.0, 99.0)), aesthetics=50.0,
            negative="zero", negative_strength=0.0,
        ),
        "last": apply("model", "embeds", rng),
        "latent": empty(rng.choice((1, 2)), 64),
    }  # fmt: skip
    graph["sample"] = sampler("last", ["model", 1], ["model", 2], ["latent", 0], rng)
    graph["save"] = node("SaveLatent", samples=["sample", 0], filename_prefix="soak")
    return graph


KINDS = {"score": score, "reference": reference, "both": both, "guidance": guidance, "search": search, "family": family}
