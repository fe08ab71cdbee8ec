"""A photograph judged, without a download."""

from ..workflow import Group, Node, Note, Shot, Workflow

photo = Node("LoadImage", "Photo to judge", image="example.png")
judge = Node("IQAModelLoader", metric="piqe")
scores = Node("IQAScoreImages", iqa_model=judge["iqa_model"], images=photo["IMAGE"])
grid = Node("IQAImageGrid", images=photo["IMAGE"], labels="your photo", columns=1, iqa_scores=scores["iqa_scores"])
save = Node("SaveImage", "Save the judged photo", images=grid["IMAGE"], filename_prefix="score_photo")

WORKFLOW = Workflow(
    Group(
        "1  Photo and judge",
        [Note("Choose or drop your picture, then press **Run**.", "Step 1"), photo.sized(340, 400)],
        [
            Note("**piqe** needs no download; lower is better. Up to four metrics can be connected.", "Step 2"),
            judge,
            scores.sized(340, 320),
        ],
    ),
    Group(
        "2  Show",
        [
            Note("The scores below the picture. *Select Best Images* would keep the best of a batch.", "Step 3"),
            grid,
        ],
        [save.sized(480, 560)],
    ),
    thumbnail=(Shot("Save the judged photo"),),
)
