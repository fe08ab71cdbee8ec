"""Small graphs in which the nodes are pictured, in ComfyUI's API format, for the embedded model.

A node that stands in no graph here is pictured in the workflow that its help page names.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OWN_ADAPTER = "my_adapter.safetensors"  # a copy of the quickstart's score adapter
PHOTO = "cat.png"  # 600 x 600
PROMPT = "a dotted pink ring on teal stripes"


@dataclass(frozen=True)
class Scene:
    """A graph, and what of it is pictured.

    Attributes:
        nodes: the graph.
        shown: ids of the nodes to picture, each followed by those that stand at its right in the picture.
    """

    nodes: dict
    shown: tuple[tuple[str, ...], ...]


def node(kind: str, /, **inputs) -> dict:
    return {"class_type": kind, "inputs": inputs}


def from_workflow(name: str, /, *shown: str, **changes) -> Scene:
    """A workflow of the pack.

    Args:
        shown: class names of the nodes to picture.
        changes: inputs to change, wherever a node has them.
    """
    nodes = json.loads((ROOT / "workflows" / "api" / f"{name}.json").read_text(encoding="utf-8"))
    for each in nodes.values():
        each["inputs"] |= {key: value for key, value in changes.items() if key in each["inputs"]}
    first = {kind: number for number, each in reversed(nodes.items()) for kind in [each["class_type"]]}
    return Scene(nodes, tuple((first[kind],) for kind in shown))


def sampled(model: str, positive: str = "prompt", latent: tuple[str, int] = ("base", 3)) -> dict:
    """Nodes that sample the embedded model, patched by the node ``model``, into the picture ``decoded``."""
    return {
        "base": node("IQAQuickstartModel", batch_size=4),
        "prompt": node("CLIPTextEncode", clip=["base", 1], text=PROMPT),
        "empty": node("CLIPTextEncode", clip=["base", 1], text=""),
        "sampler": node(
            "KSampler", model=[model, 0], positive=[positive, 0], negative=["empty", 0], latent_image=[*latent],
            seed=1, steps=16, cfg=3.0, sampler_name="dpmpp_2m", scheduler="karras", denoise=1.0,
        ),
        "decoded": node("VAEDecode", samples=["sampler", 0], vae=["base", 2]),
        "result": node("PreviewImage", images=["decoded", 0]),
    }  # fmt: skip


LOADED = node("LoadImage", image=PHOTO)
CAT = node("IQAQuickstartPicture", picture="cat", distortion="clean", severity=0.0, seed=0)
METRIC = node("IQAModelLoader", metric="quickstart_iqa", download_if_missing=False)
SCORE_ADAPTER = node("IQAAdapterLoader", adapter_name="quickstart_score.safetensors", metrics="")
SCORES = node("IQAScoreImages", iqa_model=["metric", 0], images=["decoded", 0], protocol="as is", batch_size=0, csv="")


def quality_of(percentile: float) -> dict:
    return node(
        "IQAQuality", model=["base", 0], adapter_name="quickstart_score.safetensors", preset="custom",
        quality=percentile, aesthetics=50.0, strength=1.25, metrics="",
    )  # fmt: skip


def applied(embeds: str, strength: float = 1.25) -> dict:
    return node(
        "IQAAdapterApply", model=["base", 0], iqa_embeds=[embeds, 0], strength=strength, start_percent=0.0,
        end_percent=1.0, layer_weighting="all", layer_multipliers="",
    )  # fmt: skip


def activations(images: str) -> dict:
    return node(
        "IQAReferenceFeatures", iqa_model=["metric", 0], images=[images, 0], layer="", pooling="auto",
        protocol="auto", references="one by one", weights="",
    )  # fmt: skip


SCENES = (
    from_workflow(
        "quickstart_quality_sweep", "IQAAdapterLoader", "IQAAdapterApply", "IQAModelLoader", "IQAScoreImages",
        "IQAQualitySweep", "IQAResponseCurve", "IQAQuickstartModel",
    ),
    from_workflow(
        "quickstart_reference_transfer", "IQAQuickstartPicture", "IQAReferenceFeatures", "IQAReferenceEmbed"
    ),
    from_workflow(
        "train_score_adapter", "IQAQuickstartTrainingPictures", "IQAScoreDataset", "IQAAdapterTrain",
        name="help", batch_size=4,
    ),
    Scene(sampled("quality") | {"quality": quality_of(5.0)}, (("quality", "result"),)),
    Scene(
        sampled("quality")
        | {
            "photo": CAT,
            "distorted": node("IQADistortImages", images=["photo", 0], kind="motion blur", severity=0.8, seed=0),
            "quality": node(
                "IQAQualityFromPicture", model=["base", 0], image=["distorted", 0],
                adapter_name="quickstart_reference.safetensors", strength=1.0, download_if_missing=False,
            ),
        },
        (("quality", "result"),),
    ),
    Scene(
        sampled("apply", "both")
        | {
            "adapter": SCORE_ADAPTER,
            "embeds": node(
                "IQAQualityEmbed", iqa_adapter=["adapter", 0], quality=99.0, aesthetics=50.0, targets="",
                negative="zero", negative_strength=0.5,
            ),
            "worst": node(
                "IQAQualityEmbed", iqa_adapter=["adapter", 0], quality=1.0, aesthetics=50.0, targets="",
                negative="zero", negative_strength=0.5,
            ),
            "left": node(
                "ConditioningSetAreaPercentage", conditioning=["prompt", 0], width=0.5, height=1.0, x=0.0, y=0.0,
                strength=1.0,
            ),
            "of the left": node("IQAConditioningQuality", conditioning=["left", 0], iqa_embeds=["worst", 0]),
            "both": node("ConditioningCombine", conditioning_1=["of the left", 0], conditioning_2=["prompt", 0]),
            "apply": applied("embeds"),
        },
        (("embeds",), ("of the left", "result")),
    ),
    Scene(
        sampled("base")
        | {
            "metric": METRIC,
            "scores": SCORES,
            "best": node("IQASelectBest", images=["decoded", 0], iqa_scores=["scores", 0], count=1, metric=""),
            "kept": node("PreviewImage", images=["best", 0]),
            "grid": node("IQAImageGrid", images=["decoded", 0], labels="seed 1, first\nsecond\nthird\nfourth",
                         columns=2, zoom=0, iqa_scores=["scores", 0]),
            "labelled": node("PreviewImage", images=["grid", 0]),
        },
        (("best", "kept"), ("grid", "labelled")),
    ),
    Scene(
        {
            "photo": LOADED,
            "left": node("SolidMask", value=1.0, width=300, height=600),
            "everything": node("SolidMask", value=0.0, width=600, height=600),
            "half": node("MaskComposite", destination=["everything", 0], source=["left", 0], x=0, y=0, operation="add"),
            "blurred": node(
                "IQADistortImages", images=["photo", 0], kind="blur", severity=0.5, seed=0, mask=["half", 0]
            ),
            "half blurred": node("PreviewImage", images=["blurred", 0]),
            "metric": node("IQAModelLoader", metric="piqe", download_if_missing=False),
            "map": node(
                "IQAQualityMap", images=["blurred", 0], iqa_model=["metric", 0], select="share", share=0.5,
                threshold=0.5, window=0, stride=64,
            ),
            "vhs": node("IQADistortImages", images=["photo", 0], kind="VHS", severity=0.7, seed=0),
            "compared": node("IQACompare", before=["photo", 0], after=["vhs", 0]),
        },
        (("map",), ("blurred", "half blurred"), ("compared",)),
    ),
    Scene(
        {
            "metric": METRIC,
            "cat": CAT,
            "blurred": node("IQADistortImages", images=["cat", 0], kind="motion blur", severity=0.9, seed=0),
            "noisy": node("IQADistortImages", images=["cat", 0], kind="noise", severity=0.9, seed=0),
            "of the blurred": activations("blurred"),
            "of the noisy": activations("noisy"),
            "mixed": node(
                "IQAMixFeatures", features_a=["of the blurred", 0], features_b=["of the noisy", 0], mode="blend",
                amount=0.5,
            ),
            "saved": node("IQASaveFeatures", iqa_features=["mixed", 0], filename_prefix="iqa_features/both"),
        },
        (("mixed",), ("saved",)),
    ),
    Scene(
        sampled("apply")
        | {
            "adapter": node("IQAAdapterLoader", adapter_name="quickstart_reference.safetensors", metrics=""),
            "loaded": node("IQALoadFeatures", features_name="both_00001_.safetensors"),
            "embeds": node("IQAReferenceEmbed", iqa_adapter=["adapter", 0], iqa_features=["loaded", 0]),
            "apply": applied("embeds", 1.0),
        },
        (("loaded", "result"),),
    ),
    Scene(
        sampled("guided")
        | {
            "metric": METRIC,
            "guided": node(
                "IQAGradientGuidance", model=["base", 0], vae=["base", 2], iqa_model=["metric", 0], scale=4.0,
                direction="better", start_percent=0.0, end_percent=0.8, every=1,
            ),
            "record": node("IQAGuidanceRecord", record=["guided", 1], latent=["sampler", 0]),
        },
        (("guided", "result"), ("record",)),
    ),
    Scene(
        sampled("base")
        | {
            "metric": METRIC,
            "method": node("KSamplerSelect", sampler_name="dpmpp_2m"),
            "steps": node("BasicScheduler", model=["base", 0], scheduler="karras", steps=12, denoise=1.0),
            "search": node(
                "IQASearch", iqa_model=["metric", 0], sampler=["method", 0], sigmas=["steps", 0],
                latent_image=["base", 3], vae=["base", 2], method="best of N", budget=8, keep=1, model=["base", 0],
                positive=["prompt", 0], negative=["empty", 0], cfg=3.0, seed=1,
            ),
            "best": node("PreviewImage", images=["search", 1]),
        },
        (("search", "best"),),
    ),
    Scene(
        sampled("apply", latent=("sweep", 1))
        | {
            "adapter": node("IQAAdapterLoader", adapter_name=OWN_ADAPTER, metrics=""),
            "sweep": node(
                "IQAQualitySweep", iqa_adapter=["adapter", 0], latent=["base", 3],
                rows="1, 20, 35, 50, 99", columns="",
            ),
            "apply": applied("sweep"),
            "metric": METRIC,
            "scores": SCORES,
            "calibration": node(
                "IQACalibrate", iqa_adapter=["adapter", 0], model=["base", 0], strength=1.25, iqa_scores=["scores", 0],
                requested=["sweep", 5], requested_are="quality", note="cfg 3, 16 steps of dpmpp_2m",
            ),
        },
        (("calibration",),),
    ),
    Scene(
        sampled("apply")
        | {
            "base": node("IQAQuickstartModel", batch_size=9),
            "adapter": SCORE_ADAPTER,
            "schedule": node(
                "IQAQualitySchedule", iqa_adapter=["adapter", 0], keyframes="0: 1, 8: 99", frames=0, between="linear",
                latent=["base", 3], aesthetics="", strength="",
            ),
            "apply": applied("schedule"),
            "grid": node("IQAImageGrid", images=["decoded", 0], labels=["schedule", 3], columns=3, zoom=0),
            "frames": node("PreviewImage", images=["grid", 0]),
        },
        (("schedule", "frames"),),
    ),
    Scene(
        {
            "pictures": node("IQAQuickstartTrainingPictures", count=48, clean=0.4, variant=1),
            "metric": METRIC,
            "culled": node(
                "IQACullFolder", pictures=["pictures", 0], iqa_model=["metric", 0], keep="best share", share=0.25,
                count=100, threshold=0.5, action="list", protocol="as is", name="help", folder="as in pictures",
            ),
            "sheet": node("PreviewImage", images=["culled", 1]),
        },
        (("culled", "sheet"),),
    ),
)  # fmt: skip
