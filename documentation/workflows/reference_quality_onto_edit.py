"""The quality of a photograph, onto the edit of another picture: the figure of the paper."""

from ..workflow import Group, Node, Note, Shot, Workflow
from ._checkpoints import SD15_REFERENCE_ADAPTER, SD15_SIZE, compared, decoded, of_size, photo, prompts, sampled, sd15

reference = photo("Reference")
picture = photo("Picture to edit")
scaled = of_size(picture, SD15_SIZE)
checkpoint = sd15()
quality = Node(
    "IQAQualityFromPicture",
    model=checkpoint["MODEL"],
    image=reference["IMAGE"],
    adapter_name=SD15_REFERENCE_ADAPTER,
    strength=1.0,
)
texts = prompts(checkpoint, "a photograph")
encoded = Node("VAEEncode", pixels=scaled["IMAGE"], vae=checkpoint["VAE"])
plain = sampled("Edit without the reference", checkpoint["MODEL"], texts, encoded["LATENT"], denoise=0.5)
edit = sampled("Edit with its quality", quality["MODEL"], texts, encoded["LATENT"], denoise=0.5)
before, after = decoded(plain, checkpoint), decoded(edit, checkpoint)
save = Node("SaveImage", "Save the edit", images=after["IMAGE"], filename_prefix="reference_quality")

WORKFLOW = Workflow(
    Group(
        "1  Reference and picture",
        [Note("Whose **quality** to take: blurred, noisy, crisp. Its content does not count.", "Step 1"), reference],
        [Note("Whose **content** to keep.", "Step 2"), picture],
        [
            Note("A reference adapter for SD1.5: template *train_reference_adapter*.", "Step 3"),
            checkpoint,
            quality,
        ],
    ),
    Group("2  What it shows", [*texts, scaled, encoded]),
    Group("3  Edit twice, with the same seed", [plain, before], [edit, after]),
    Group("4  Compare", [compared(before, after)], [save.sized(480, 520)]),
    thumbnail=(
        Shot("Reference", "reference"),
        Shot("Before and After", "without", 0, "a_images"),
        Shot("Before and After", "with it", 0, "b_images"),
    ),
    quickstart={"Reference": {"picture": "coffee", "distortion": "white_noise", "severity": 0.8}},
)
