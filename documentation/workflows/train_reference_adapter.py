"""A reference adapter trained in the graph."""

from ._training import training

WORKFLOW = training(
    "activations",
    "reference",
    "Takes what the IQA model *sees* in every picture; the adapter learns to follow that.",
    "quickstart_reference_transfer",
    "First row: a blurred, a noisy and a good picture. Below each: drawn in that quality.",
    variant=2113,
)
