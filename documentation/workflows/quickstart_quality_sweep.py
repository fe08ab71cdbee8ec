"""One batch at five qualities, without a download."""

from ..workflow import Group, Node, Note, Shot, Workflow
from ._quickstart import sampled, written

model = Node("IQAQuickstartModel")
texts = written(model)
adapter = Node("IQAAdapterLoader", adapter_name="quickstart_score.safetensors")
sweep = Node("IQAQualitySweep", iqa_adapter=adapter["iqa_adapter"], latent=model["LATENT"], rows="1, 25, 50, 75, 99")
applied = Node("IQAAdapterApply", model=model["MODEL"], iqa_embeds=sweep["iqa_embeds"], strength=1.25)
sampler = sampled("", applied, texts, sweep)
pictures = Node("VAEDecode", samples=sampler["LATENT"], vae=model["VAE"])
judge = Node("IQAModelLoader", metric="quickstart_iqa")
scores = Node("IQAScoreImages", iqa_model=judge["iqa_model"], images=pictures["IMAGE"]).sized(340, 420)
grid = Node(
    "IQAImageGrid",
    images=pictures["IMAGE"],
    labels=sweep["labels"],
    columns=sweep["grid_columns"],
    iqa_scores=scores["iqa_scores"],
)
save = Node("SaveImage", "Save the grid", images=grid["IMAGE"], filename_prefix="quickstart_quality_sweep")
curve = Node("IQAResponseCurve", iqa_scores=scores["iqa_scores"], requested=sweep["requested"]).sized(340, 400)

WORKFLOW = Workflow(
    Group(
        "1  Model and prompt",
        [
            Note("The **Quickstart Model** comes with the pack. Press **Run**: nothing is downloaded.", "Step 1"),
            model.sized(340, 200),
        ],
        list(texts),
    ),
    Group(
        "2  Ask for five qualities",
        [
            Note("1 % is worse than 99 of 100 training pictures, 99 % better. Prompt, seed and noise stay.", "Step 2"),
            adapter,
            sweep,
            applied,
        ],
    ),
    Group("3  Draw", [Note("The sampler is ComfyUI's own: the sweep is one batch.", "Step 3"), sampler, pictures]),
    Group(
        "4  Measure",
        [Note("An **IQA model** judges every picture.", "Step 4"), judge, scores, curve],
    ),
    Group("5  Compare", [grid, save.sized(480, 760)]),
    thumbnail=(Shot("Save the grid"),),
)
