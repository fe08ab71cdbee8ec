"""Two ways to a better picture: the gradient of an IQA model at every step, and the adapter."""

from ..workflow import Group, Node, Note, Shot, Workflow
from ._checkpoints import SD15_ADAPTER, SD15_SIZE, compared, decoded, empty, prompts, sampled, sd15

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
neither, with_guidance, with_adapter = drawn = [decoded(sampler, checkpoint) for sampler in draw]
record = Node("IQAGuidanceRecord", record=guided["record"], latent=draw[1]["LATENT"])
scores = [
    Node("IQAScoreImages", title, iqa_model=judge["iqa_model"], images=picture["IMAGE"])
    for title, picture in zip(("Score of neither", "Score with guidance", "Score with the adapter"), drawn, strict=True)
]
saved = [
    Node("SaveImage", "Save the guided picture", images=with_guidance["IMAGE"], filename_prefix="gradient_guidance"),
    Node("SaveImage", "Save the adapter's picture", images=with_adapter["IMAGE"], filename_prefix="adapter"),
]

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
    Group("4  Measure", *([score] for score in scores), [record.sized(400, 460)]),
    Group(
        "5  Compare",
        [compared(neither, with_guidance, "Neither and guidance"), saved[0].sized(480, 520)],
        [compared(neither, with_adapter, "Neither and adapter"), saved[1].sized(480, 520)],
    ),
    thumbnail=(
        Shot("Neither and guidance", "neither", 0, "a_images"),
        Shot("Neither and guidance", "guidance", 0, "b_images"),
        Shot("Neither and adapter", "adapter", 0, "b_images"),
    ),
)
