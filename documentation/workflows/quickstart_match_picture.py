"""Drawings as good as other pictures are: their scores become the request."""

from ..workflow import Group, Node, Note, Shot, Workflow

SIZE = "64"  # of the quickstart's pictures, as its adapter was trained

judge = Node("IQAModelLoader", metric="quickstart_iqa")
good = Node("IQAQuickstartPicture", "Good", picture="cat", distortion="clean", severity=0.0)
middling = Node("IQAQuickstartPicture", "Middling", picture="cat", distortion="gaussian_blur", severity=0.25)
bad = Node("IQAQuickstartPicture", "Bad", picture="cat", distortion="gaussian_blur", severity=0.8)
first = Node("ImageBatch", "Good and middling", image1=good["IMAGE"], image2=middling["IMAGE"])
references = Node("ImageBatch", "And bad", image1=first["IMAGE"], image2=bad["IMAGE"])
wanted = Node(
    "IQAScoreImages", "Scores to match", iqa_model=judge["iqa_model"], images=references["IMAGE"], protocol=SIZE
).sized(340, 320)
adapter = Node("IQAAdapterLoader", adapter_name="quickstart_score.safetensors")
quality = Node(
    "IQAQualityEmbed", iqa_adapter=adapter["iqa_adapter"], match_scores=wanted["iqa_scores"], aesthetics=50.0
)
model = Node("IQAQuickstartModel", batch_size=3)
applied = Node("IQAAdapterApply", model=model["MODEL"], iqa_embeds=quality["iqa_embeds"], strength=1.25)
prompt = Node("CLIPTextEncode", "Prompt", clip=model["CLIP"], text="a dotted pink ring on teal stripes")
negative = Node("CLIPTextEncode", "Negative prompt", clip=model["CLIP"])
sampler = Node(
    "KSampler",
    model=applied["MODEL"],
    positive=prompt["CONDITIONING"],
    negative=negative["CONDITIONING"],
    latent_image=model["LATENT"],
    seed=1,
    steps=16,
    cfg=3.0,
    sampler_name="dpmpp_2m",
    scheduler="karras",
)
drawn = Node("VAEDecode", samples=sampler["LATENT"], vae=model["VAE"])
both = Node("ImageBatch", "References and drawings", image1=references["IMAGE"], image2=drawn["IMAGE"])
scores = Node("IQAScoreImages", "Scores of all", iqa_model=judge["iqa_model"], images=both["IMAGE"], protocol=SIZE)
grid = Node(
    "IQAImageGrid",
    images=both["IMAGE"],
    labels="reference\nreference\nreference\ndrawn\ndrawn\ndrawn",
    columns=3,
    iqa_scores=scores["iqa_scores"],
)
save = Node("SaveImage", "Save the grid", images=grid["IMAGE"], filename_prefix="quickstart_match_picture")

WORKFLOW = Workflow(
    Group(
        "1  Pictures to match",
        [Note("Change **distortion** and **severity**, then press **Run**. Nothing is downloaded.", "Step 1"), good],
        [middling, judge],
        [bad],
    ),
    Group(
        "2  Their scores become the request",
        [first, references, wanted],
        [Note("A row for each reference: the first drawing matches the first one, and so on.", "Step 2"), quality],
        [adapter, applied],
    ),
    Group(
        "3  Draw as many", [model.sized(340, 200), prompt.sized(340, 110), negative.sized(340, 90)], [sampler, drawn]
    ),
    Group("4  Compare", [both, scores.sized(340, 420)], [grid, save.sized(480, 480)]),
    thumbnail=(Shot("Save the grid"),),
)
