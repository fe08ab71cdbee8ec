"""The best pictures of a batch."""

from ..blueprint import Blueprint
from ..workflow import Node

judge = Node("IQAModelLoader", metric="piqe")
scores = Node("IQAScoreImages", iqa_model=judge["iqa_model"])
best = Node("IQASelectBest", iqa_scores=scores["iqa_scores"], count=1)

BLUEPRINT = Blueprint(
    name="Score and Select",
    description="Judges the pictures of a batch with an IQA model and keeps the best.",
    aliases=("best of", "score images", "select best", "pick best", "rank"),
    columns=([judge], [scores], [best]),
    inputs={"images": [(scores, "images"), (best, "images")]},
    outputs={"images": best["images"], "table": scores["table"]},
    widgets=[(judge, "metric"), (judge, "download_if_missing"), (best, "count")],
)
