"""A picture enlarged by a second pass that is asked for the best quality."""

from ..workflow import Group, Node, Note, Shot, Workflow
from ._checkpoints import SDXL_SIZE, compared, decoded, empty, prompts, sampled, sdxl, sdxl_quality

checkpoint = sdxl()
quality = sdxl_quality(checkpoint, "custom", quality=99.0, aesthetics=75.0)
texts = prompts(checkpoint, "a fishing boat in a harbour at dawn, photograph")
latent = empty(SDXL_SIZE)
small = sampled("First pass", checkpoint["MODEL"], texts, latent["LATENT"])
larger = Node("LatentUpscaleBy", samples=small["LATENT"], upscale_method="bislerp", scale_by=1.5)
plain = sampled("Second pass without the adapter", checkpoint["MODEL"], texts, larger["LATENT"], denoise=0.55)
asked = sampled("Second pass at quality 99", quality["MODEL"], texts, larger["LATENT"], denoise=0.55)
before, after = decoded(plain, checkpoint), decoded(asked, checkpoint)
save = Node("SaveImage", "Save the picture", images=after["IMAGE"], filename_prefix="upscaled")

WORKFLOW = Workflow(
    Group(
        "1  Model and quality",
        [
            Note("The authors' file goes into **models/iqa_adapter/**; the README says where it is.", "Step 1"),
            checkpoint,
        ],
        [quality],
        [Note("The second pass alone is asked for it: shapes are settled in the first.", "Step 2")],
    ),
    Group("2  Prompt", [*texts, latent]),
    Group("3  First pass, enlarged", [small, larger]),
    Group(
        "4  Second pass",
        [plain, before],
        [asked, after, Note("Both second passes have the same seed.", "Step 3")],
    ),
    Group("5  Compare", [compared(before, after)], [save.sized(480, 520)]),
    thumbnail=(
        Shot("Before and After", "without", 0, "a_images"),
        Shot("Before and After", "quality 99", 0, "b_images"),
    ),
    quickstart={
        "Upscale Latent By": {"scale_by": 1.0},  # it knows no other size than its own
        "First pass": {"seed": 2},
        "Second pass without the adapter": {"seed": 2},
        "Second pass at quality 99": {"seed": 2},
    },
)
