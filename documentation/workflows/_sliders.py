"""Workflows that draw a picture twice: with an adapter, and beside it without."""

from ..workflow import Group, Node, Note, Shot, Workflow
from ._checkpoints import Drawing, compared, decoded, photo


def sliders(drawing: Drawing, adapter: str, metrics: str, about: str, prefix: str, shown: dict) -> Workflow:
    """A picture at the quality asked for, beside the one without the adapter.

    Args:
        drawing: model and prompt.
        adapter: its file.
        metrics: that the file does not say.
        about: where to get the adapter, in words.
        prefix: of the saved picture's name.
        shown: the quickstart's request for the thumbnail.
    """
    quality = Node(
        "IQAQuality",
        model=drawing.model,
        adapter_name=adapter,
        preset="custom",
        quality=99.0,
        aesthetics=99.0,
        strength=1.0,
        metrics=metrics,
    )
    first = Group(
        "1  Model and quality",
        [Note(about, "Step 1"), *drawing.loaders],
        [quality],
        [Note("Drag the point, press **Run**: 99 % is best, 1 % looks damaged.", "Step 2")],
    )
    caption = f"quality {shown['quality']:g} %"
    return _beside_plain(
        drawing, first, quality, "At the quality asked for", prefix, caption, {"Quality (simple)": shown}
    )


def transfer(drawing: Drawing, adapter: str, about: str, prefix: str) -> Workflow:
    """A picture with the quality of a photo, beside the one without the adapter; as :func:`sliders`."""
    reference = photo("Reference")
    quality = Node(
        "IQAQualityFromPicture",
        model=drawing.model,
        image=reference["IMAGE"],
        adapter_name=adapter,
        strength=1.0,
    )
    first = Group(
        "1  Model and reference",
        [Note(about, "Step 1"), *drawing.loaders],
        [Note("Whose **quality** to take: blurred, noisy, crisp. Its content does not count.", "Step 2"), reference],
        [quality],
    )
    blurred = {"picture": "coffee", "distortion": "gaussian_blur", "severity": 0.8}
    return _beside_plain(
        drawing, first, quality, "With its quality", prefix, "with its quality", {"Reference": blurred}
    )


def _beside_plain(
    drawing: Drawing, first: Group, quality: Node, title: str, prefix: str, caption: str, quickstart: dict
) -> Workflow:
    plain = drawing.sampled("Without the adapter", drawing.model)
    asked = drawing.sampled(title, quality["MODEL"])
    before, after = decoded(plain, drawing.vae), decoded(asked, drawing.vae)
    save = Node("SaveImage", "Save the picture", images=after["IMAGE"], filename_prefix=prefix)
    reference = [Shot("Reference", "reference")] if "Reference" in quickstart else []
    return Workflow(
        first,
        Group("2  Prompt", [*drawing.written, drawing.latent]),
        Group("3  Draw twice, with the same seed", [plain, before], [asked, after]),
        Group(
            "4  Compare",
            [compared(before, after), Note("Drag the edge. *Strength* 0 gives the picture before.", "Step 3")],
            [save.sized(480, 520)],
        ),
        thumbnail=(
            *reference,
            Shot("Before and After", "without", 0, "a_images"),
            Shot("Before and After", caption, 0, "b_images"),
        ),
        quickstart=quickstart,
    )
