"""The two workflows of the quality sliders: one for SD1.5, one for SDXL."""

from ..workflow import Group, Node, Note, Shot, Workflow
from ._checkpoints import compared, decoded, empty, prompts, sampled


def sliders(checkpoint: Node, size: int, adapter: str, metrics: str, about: str, prefix: str, shown: dict) -> Workflow:
    """A picture at the quality asked for, beside the one without the adapter.

    Args:
        size: of the picture, in pixels.
        adapter: its file.
        metrics: that the file does not say.
        about: where to get the adapter, in words.
        prefix: of the saved picture's name.
        shown: the quickstart's request for the thumbnail.
    """
    quality = Node(
        "IQAQuality",
        model=checkpoint["MODEL"],
        adapter_name=adapter,
        preset="custom",
        quality=99.0,
        aesthetics=99.0,
        strength=1.0,
        metrics=metrics,
    )
    texts = prompts(checkpoint, "a fishing boat in a harbour at dawn, photograph")
    latent = empty(size)
    plain = sampled("Without the adapter", checkpoint["MODEL"], texts, latent["LATENT"])
    asked = sampled("At the quality asked for", quality["MODEL"], texts, latent["LATENT"])
    before, after = decoded(plain, checkpoint), decoded(asked, checkpoint)
    save = Node("SaveImage", "Save the picture", images=after["IMAGE"], filename_prefix=prefix)
    return Workflow(
        Group(
            "1  Model and quality",
            [Note(about, "Step 1"), checkpoint],
            [quality],
            [Note("Drag the point, press **Run**: 99 % is best, 1 % looks damaged.", "Step 2")],
        ),
        Group("2  Prompt", [*texts, latent]),
        Group("3  Draw twice, with the same seed", [plain, before], [asked, after]),
        Group(
            "4  Compare",
            [compared(before, after), Note("Drag the edge. *Strength* 0 gives the picture before.", "Step 3")],
            [save.sized(480, 520)],
        ),
        thumbnail=(
            Shot("Before and After", "without", 0, "a_images"),
            Shot("Before and After", f"quality {shown['quality']:g} %", 0, "b_images"),
        ),
        quickstart={"Quality (simple)": shown},
    )
