"""The left half of a picture at the best quality, the right half at the worst."""

from ..workflow import Group, Node, Note, Shot, Workflow
from ._checkpoints import SD15_ADAPTER, SD15_SIZE, compared, decoded, empty, prompts, sampled, sd15

checkpoint = sd15()
adapter = Node("IQAAdapterLoader", adapter_name=SD15_ADAPTER)
good = Node("IQAQualityEmbed", "Quality of the left", iqa_adapter=adapter["iqa_adapter"], quality=99.0, aesthetics=99.0)
bad = Node("IQAQualityEmbed", "Quality of the right", iqa_adapter=adapter["iqa_adapter"], quality=1.0, aesthetics=50.0)
whole = Node("SolidMask", "Whole picture", value=0.0, width=SD15_SIZE, height=SD15_SIZE)
half = Node("SolidMask", "Half of it", value=1.0, width=SD15_SIZE // 2, height=SD15_SIZE)
left = Node("MaskComposite", "Left half", destination=whole["MASK"], source=half["MASK"], x=0, y=0, operation="add")
right = Node("InvertMask", "Right half", mask=left["MASK"])
first = Node(
    "IQAAdapterApply", "Apply to the left", model=checkpoint["MODEL"], iqa_embeds=good["iqa_embeds"],
    mask=left["MASK"], strength=1.0,
)  # fmt: skip
second = Node(
    "IQAAdapterApply", "Apply to the right", model=first["MODEL"], iqa_embeds=bad["iqa_embeds"],
    mask=right["MASK"], strength=1.0,
)  # fmt: skip
texts = prompts(checkpoint, "a fishing boat in a harbour at dawn, photograph")
latent = empty(SD15_SIZE)
plain = sampled("Without the adapter", checkpoint["MODEL"], texts, latent["LATENT"])
draw = sampled("With two qualities", second["MODEL"], texts, latent["LATENT"])
before, after = decoded(plain, checkpoint), decoded(draw, checkpoint)
save = Node("SaveImage", "Save the picture", images=after["IMAGE"], filename_prefix="two_regions")

WORKFLOW = Workflow(
    Group(
        "1  Model and qualities",
        [Note("An adapter for SD1.5, such as one that you trained.", "Step 1"), checkpoint, adapter],
        [good],
        [bad],
    ),
    Group(
        "2  Where",
        [whole, half, left, right],
        [Note("For regions of your own: right-click a *Load Image*, paint, connect its MASK.", "Step 2")],
    ),
    Group("3  Apply both", [first], [second]),
    Group("4  Prompt", [*texts, latent]),
    Group("5  Draw twice, with the same seed", [plain, before], [draw, after]),
    Group("6  Compare", [compared(before, after)], [save.sized(480, 520)]),
    thumbnail=(Shot("Save the picture", "best | worst"),),
    quickstart={"Quality of the right": {"quality": 15.0}},
)
