"""A photograph redrawn at another quality."""

from ..workflow import Group, Node, Note, Shot, Workflow
from ._checkpoints import SDXL_SIZE, compared, decoded, of_size, photo, prompts, sampled, sdxl, sdxl_quality

picture = photo("Your photo")
scaled = of_size(picture, SDXL_SIZE)
checkpoint = sdxl()
quality = sdxl_quality(checkpoint, "best")
texts = prompts(checkpoint, "a photograph")
encoded = Node("VAEEncode", pixels=scaled["IMAGE"], vae=checkpoint["VAE"])
redrawn = sampled("Redraw", quality["MODEL"], texts, encoded["LATENT"], denoise=0.4)
after = decoded(redrawn, checkpoint)
save = Node("SaveImage", "Save the picture", images=after["IMAGE"], filename_prefix="restored")

WORKFLOW = Workflow(
    Group(
        "1  Photo and quality",
        [Note("Choose or drop your photo, then press **Run**.", "Step 1"), picture],
        [Note("*best* restores, *worst* degrades; *custom* takes the point.", "Step 2"), checkpoint, scaled],
        [quality],
    ),
    Group("2  What it shows", [*texts, Note("Say what the photo shows: the model redraws it.", "Step 3")]),
    Group(
        "3  Redraw",
        [encoded, redrawn, after],
        [Note("More **denoise** changes more: 0.2 keeps every line, 0.6 invents.", "Step 4")],
    ),
    Group("4  Compare", [compared(scaled, after)], [save.sized(480, 520)]),
    thumbnail=(Shot("Before and After", "before", 0, "a_images"), Shot("Before and After", "after", 0, "b_images")),
    quickstart={"Your photo": {"distortion": "gaussian_blur", "severity": 0.6}, "Redraw": {"denoise": 0.55}},
)
