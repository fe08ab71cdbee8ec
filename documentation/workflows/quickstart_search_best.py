"""One prompt, many seeds: the best picture, beside the one that comes first."""

from ..workflow import Group, Node, Note, Shot, Workflow
from ._search import drawn_by, search

(model, prompt, negative, judge, aside), (sampler, sigmas), found = search(
    method="best of N", budget=12, keep=1, seed=1
)
first = Node("RandomNoise", "The first seed", noise_seed=1)
guider = Node(
    "CFGGuider",
    "Guider",
    model=model["MODEL"],
    positive=prompt["CONDITIONING"],
    negative=negative["CONDITIONING"],
    cfg=3.0,
)
before = drawn_by(first, guider, sampler, sigmas, model)
before_picture = Node("VAEDecode", samples=before["output"], vae=model["VAE"])
compare = Node("IQACompare", before=before_picture["IMAGE"], after=found["IMAGE"]).sized(480, 520)
scores = [
    Node("IQAScoreImages", title, iqa_model=judge["iqa_model"], images=picture["IMAGE"])
    for title, picture in (("Score of the first", before_picture), ("Score of the best", found))
]
save = Node("SaveImage", "Save the best", images=found["IMAGE"], filename_prefix="search_best").sized(480, 520)
plot = Node("PreviewImage", "Plot", images=found["plot"]).sized(480, 400)

WORKFLOW = Workflow(
    Group(
        "1  Model and metrics",
        [Note("The model **comes with the pack**. Change the prompt and press **Run**.", "Step 1"), model, prompt],
        [negative, judge, aside],
    ),
    Group("2  Sampler", [sampler, sigmas]),
    Group(
        "3  Search",
        [Note("Twelve seeds are drawn and judged; **cancel** gives the best so far.", "Step 2"), found.sized(400, 620)],
    ),
    Group(
        "4  The first seed, and the best",
        [first, guider, before, before_picture],
        [compare, plot],
        scores,
        [save],
    ),
    thumbnail=(
        Shot("Before and After", "first seed", 0, "a_images"),
        Shot("Before and After", "best of 12", 0, "b_images"),
    ),
)
