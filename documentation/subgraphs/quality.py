"""A model that draws at the quality asked for, from its parts."""

from ..blueprint import Blueprint
from ..workflow import Node

adapter = Node("IQAAdapterLoader", adapter_name="quickstart_score.safetensors")
asked = Node("IQAQualityEmbed", iqa_adapter=adapter["iqa_adapter"], quality=99.0, aesthetics=99.0)
applied = Node("IQAAdapterApply", iqa_embeds=asked["iqa_embeds"], strength=1.0)

BLUEPRINT = Blueprint(
    name="Quality",
    description="Lets a model draw at the quality asked for: load an IQA-Adapter, ask for percentiles, apply it.",
    aliases=("quality", "aesthetic", "iqa adapter", "restore", "degrade", "percentile"),
    columns=([adapter], [asked], [applied]),
    inputs={"model": [(applied, "model")]},
    outputs={"MODEL": applied[0]},
    widgets=[(adapter, "adapter_name"), (asked, "quality"), (asked, "aesthetics"), (applied, "strength")],
)
