"""Where a picture is bad, found by an IQA model and redrawn."""

from ..workflow import Group, Node, Note, Shot, Workflow
from ._checkpoints import SDXL_SIZE, compared, decoded, of_size, photo, prompts, sampled, sdxl, sdxl_quality

picture = photo("Your photo")
scaled = of_size(picture, SDXL_SIZE)
judge = Node("IQAModelLoader", metric="piqe")
bad = Node("IQAQualityMap", images=scaled["IMAGE"], iqa_model=judge["iqa_model"], select="share", share=0.25)
checkpoint = sdxl()
quality = sdxl_quality(checkpoint, "best")
texts = prompts(checkpoint, "a photograph")
encoded = Node("VAEEncode", pixels=scaled["IMAGE"], vae=checkpoint["VAE"])
masked = Node("SetLatentNoiseMask", samples=encoded["LATENT"], mask=bad["mask"])
redrawn = sampled("Redraw the worst part", quality["MODEL"], texts, masked["LATENT"], denoise=0.6)
drawn = decoded(redrawn, checkpoint)
after = Node(
    "ImageCompositeMasked",
    "Put it into the photo",
    destination=scaled["IMAGE"],
    source=drawn["IMAGE"],
    mask=bad["mask"],
    x=0,
    y=0,
    resize_source=False,
)
save = Node("SaveImage", "Save the picture", images=after["IMAGE"], filename_prefix="repaired")

WORKFLOW = Workflow(
    Group(
        "1  Where is it bad?",
        [Note("Choose or drop your photo, then press **Run**.", "Step 1"), picture],
        [Note("Red is worst; the mask, with a white border, is a quarter of the photo.", "Step 2"), judge, scaled],
        [bad.sized(420, 640)],
    ),
    Group("2  Model and quality", [checkpoint, *texts], [quality]),
    Group(
        "3  Redraw that part",
        [encoded, masked, redrawn],
        [Note("Say what the photo shows. More **denoise** changes more.", "Step 3"), drawn, after],
    ),
    Group("4  Compare", [compared(scaled, after)], [save.sized(480, 520)]),
    thumbnail=(
        Shot("Quality Map", "where?"),
        Shot("Before and After", "before", 0, "a_images"),
        Shot("Before and After", "after", 0, "b_images"),
    ),
    quickstart={"Quality Map": {"share": 0.5}},
    blurred_below="Your photo",
)
