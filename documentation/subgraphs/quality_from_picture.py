"""A model that draws with the quality of a picture, from its parts."""

from ..blueprint import Blueprint
from ..workflow import Node

adapter = Node("IQAAdapterLoader", adapter_name="quickstart_reference.safetensors")
judge = Node("IQAModelLoader", metric="quickstart_iqa")
seen = Node("IQAReferenceFeatures", iqa_model=judge["iqa_model"], iqa_adapter=adapter["iqa_adapter"], protocol="auto")
asked = Node("IQAReferenceEmbed", iqa_adapter=adapter["iqa_adapter"], iqa_features=seen["iqa_features"])
applied = Node("IQAAdapterApply", iqa_embeds=asked["iqa_embeds"], strength=1.0)

BLUEPRINT = Blueprint(
    name="Quality from Picture",
    description="Lets a model draw with the quality of a picture, not its content: an IQA model looks at it, and a "
    "reference adapter follows.",
    aliases=("reference quality", "quality transfer", "copy quality", "iqa adapter"),
    columns=([adapter, judge], [seen], [asked, applied]),
    inputs={"model": [(applied, "model")], "picture": [(seen, "images")]},
    outputs={"MODEL": applied[0]},
    widgets=[(adapter, "adapter_name"), (judge, "metric"), (applied, "strength")],
)
