"""Draws until four pictures are good enough, and no longer."""

from ..workflow import Group, Node, Note, Shot, Workflow
from ._search import search

(model, prompt, negative, judge, aside), (sampler, sigmas), found = search(
    method="best of N", budget=32, keep=4, thresholds="quickstart_iqa=0.95", seed=1
)
best = Node(
    "IQASelectBest",
    images=found["IMAGE"],
    iqa_scores=found["iqa_scores"],
    latent=found["LATENT"],
    count=4,
    thresholds="quickstart_iqa=0.95",
    check_with="piqe",
)
scores = Node("IQAScoreImages", iqa_model=judge["iqa_model"], images=best["images"]).sized(340, 320)
grid = Node("IQAImageGrid", images=best["images"], columns=2, iqa_scores=scores["iqa_scores"])
save = Node("SaveImage", "Save the grid", images=grid["IMAGE"], filename_prefix="until_4_are_good").sized(480, 520)

WORKFLOW = Workflow(
    Group(
        "1  Model and metrics",
        [Note("The model **comes with the pack**. Change the prompt and press **Run**.", "Step 1"), model, prompt],
        [negative, judge, aside],
    ),
    Group("2  Sampler", [sampler, sigmas]),
    Group(
        "3  Draw until 4 reach the threshold",
        [Note("Ends early when 4 are good enough, at the latest after 32.", "Step 2"), found.sized(400, 620)],
    ),
    Group(
        "4  Only those that are good enough",
        [Note("What does not reach the threshold is left out.", "Step 3"), best, scores],
        [grid, save],
    ),
    thumbnail=(Shot("Save the grid"),),
)
