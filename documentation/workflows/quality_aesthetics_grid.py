"""One prompt at three qualities and three degrees of aesthetics, and what was measured."""

from ..workflow import Group, Node, Note, Shot, Workflow
from ._checkpoints import SD15_ADAPTER, SD15_SIZE, decoded, empty, prompts, sampled, sd15

checkpoint = sd15()
adapter = Node("IQAAdapterLoader", adapter_name=SD15_ADAPTER)
latent = empty(SD15_SIZE)
sweep = Node(
    "IQAQualitySweep",
    iqa_adapter=adapter["iqa_adapter"],
    latent=latent["LATENT"],
    rows="1, 50, 99",
    columns="1, 50, 99",
)
applied = Node("IQAAdapterApply", model=checkpoint["MODEL"], iqa_embeds=sweep["iqa_embeds"], strength=1.0)
texts = prompts(checkpoint, "a fishing boat in a harbour at dawn, photograph")
draw = sampled("Draw all nine", applied["MODEL"], texts, sweep["LATENT"])
pictures = decoded(draw, checkpoint)
judge = Node("IQAModelLoader", metric="piqe")
scores = Node("IQAScoreImages", iqa_model=judge["iqa_model"], images=pictures["IMAGE"]).sized(340, 460)
grid = Node(
    "IQAImageGrid",
    images=pictures["IMAGE"],
    labels=sweep["labels"],
    columns=sweep["grid_columns"],
    iqa_scores=scores["iqa_scores"],
)
save = Node("SaveImage", "Save the grid", images=grid["IMAGE"], filename_prefix="quality_aesthetics")
curve = Node("IQAResponseCurve", iqa_scores=scores["iqa_scores"], requested=sweep["requested"])

WORKFLOW = Workflow(
    Group(
        "1  Model and percentiles",
        [Note("An adapter with an aesthetic metric; one without ignores the columns.", "Step 1"), checkpoint, adapter],
        [Note("Rows are quality, columns aesthetics: nine pictures in one batch.", "Step 2"), sweep, latent],
        [applied],
    ),
    Group("2  Prompt", [*texts]),
    Group("3  Draw", [draw, pictures, Note("All nine have the same seed and noise.", "Step 3")]),
    Group(
        "4  Measure",
        [
            Note("**piqe** needs no download; lower is better. *topiq_nr* agrees more with people.", "Step 4"),
            judge,
            scores,
        ],
        [curve.sized(400, 460)],
    ),
    Group("5  Compare", [grid, save.sized(560, 640)]),
    thumbnail=(Shot("Save the grid"),),
)
