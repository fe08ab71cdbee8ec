"""Two ways to a better picture: the gradient of an IQA model at every step, and the adapter."""

from ..workflow import Group, Node, Note, Shot, Workflow
from ._checkpoints import SD15_ADAPTER, SD15_SIZE, decoded, empty, prompts, sampled, sd15

checkpoint = sd15()
judge = Node("IQAModelLoader", metric="topiq_nr")
guided = Node(
    "IQAGradientGuidance",
    model=checkpoint["MODEL"],
    vae=checkpoint["VAE"],
    iqa_model=judge["iqa_model"],
    scale=0.5,
    direction="better",
)
quality = Node(
    "IQAQuality",
    model=checkpoint["MODEL"],
    adapter_name=SD15_ADAPTER,
    preset="custom",
    quality=99.0,
    aesthetics=50.0,
    strength=1.0,
)
texts = prompts(checkpoint, "a fishing boat in a harbour at dawn, photograph")
latent = empty(SD15_SIZE)
draw = [
    sampled("Neither", checkpoint["MODEL"], texts, latent["LATENT"]),
    sampled("Guidance", guided["MODEL"], texts, latent["LATENT"]),
    sampled("Adapter", quality["MODEL"], texts, latent["LATENT"]),
]
drawn = [decoded(sampler, checkpoint) for sampler in draw]
first = Node("ImageBatch", "Neither and guidance", image1=drawn[0]["IMAGE"], image2=drawn[1]["IMAGE"])
second = Node("ImageBatch", "And the adapter", image1=first["IMAGE"], image2=drawn[2]["IMAGE"])
scores = Node("IQAScoreImages", iqa_model=judge["iqa_model"], images=second["IMAGE"]).sized(340, 320)
grid = Node(
    "IQAImageGrid",
    images=second["IMAGE"],
    labels="neither\ngradient guidance\nadapter",
    columns=3,
    iqa_scores=scores["iqa_scores"],
)
save = Node("SaveImage", "Save the grid", images=grid["IMAGE"], filename_prefix="gradient_guidance")

WORKFLOW = Workflow(
    Group(
        "1  Model, guidance, adapter",
        [
            Note("An adapter for SD1.5. **topiq_nr**: allow its download for the first run.", "Step 1"),
            checkpoint,
            judge,
        ],
        [Note("Climbs the score at every step. Slow, and fond of patterns that please only it.", "Step 2"), guided],
        [quality],
    ),
    Group("2  Prompt", [*texts, latent]),
    Group(
        "3  Draw three, with the same seed", *([sampler, picture] for sampler, picture in zip(draw, drawn, strict=True))
    ),
    Group("4  Measure", [first, second, scores]),
    Group("5  Compare", [grid, save.sized(640, 400)]),
    thumbnail=(Shot("Save the grid"),),
)
