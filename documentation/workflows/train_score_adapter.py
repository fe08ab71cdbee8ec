"""A score adapter trained in the graph."""

from ._training import training

WORKFLOW = training(
    "scores",
    "score",
    "Judges every picture. Further metrics, at *model_2* to *model_4*, are a slider each.",
    "quickstart_quality_sweep",
    "The same prompts and noise, asked for the worst, the middle and the best of the set.",
)
