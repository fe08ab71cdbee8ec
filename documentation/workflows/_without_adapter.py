"""What raises the quality of any model at once: the best of many seeds, and guidance by an IQA model."""

from ..workflow import Group, Node, Note, Shot, Workflow
from ._checkpoints import Drawing, compared, decoded


def without_adapter(drawing: Drawing, about: str, prefix: str) -> Workflow:
    """A picture with guidance, and the best of a search, beside the plain one.

    Args:
        drawing: model and prompt.
        about: why there is no adapter, in words.
        prefix: of the saved pictures' names.
    """
    judge = Node("IQAModelLoader", metric="topiq_nr")
    given = {"model": drawing.model, "vae": drawing.vae["VAE"], "iqa_model": judge["iqa_model"]}
    guidance = Node("IQAGradientGuidance", scale=0.5, direction="better", **given)
    plain, climbing = drawing.sampled("Plain", drawing.model), drawing.sampled("With guidance", guidance["MODEL"])
    before, guided = decoded(plain, drawing.vae), decoded(climbing, drawing.vae)
    parts, best = _search(drawing, given)
    scores = [
        Node("IQAScoreImages", title, iqa_model=judge["iqa_model"], images=picture["IMAGE"])
        for title, picture in (("Score of the plain one", before), ("Score with guidance", guided))
    ]
    saved = [
        Node("SaveImage", f"Save the {kind} one", images=picture["IMAGE"], filename_prefix=f"{prefix}_{kind}")
        for kind, picture in (("guided", guided), ("best", best))
    ]
    return Workflow(
        Group(
            "1  Model and judge",
            [Note(about, "Step 1"), *drawing.loaders],
            [Note("**topiq_nr** judges. Allow its download for the first run.", "Step 2"), judge],
        ),
        Group("2  Prompt", [*drawing.written, drawing.latent]),
        Group(
            "3  Draw: plain, and with guidance",
            [plain, before],
            [
                Note("Climbs the score at every step. Slow, and fond of patterns that only it likes.", "Step 3"),
                guidance,
            ],
            [climbing, guided],
        ),
        Group(
            "4  Search: the best of many seeds",
            [Note("Takes as long as *budget* pictures; *seeds* tells which was best.", "Step 4"), *parts],
            [best.sized(420, 900)],
        ),
        Group("5  Measure", *([score] for score in scores)),
        Group(
            "6  Compare",
            [compared(before, guided, "Plain and guided"), saved[0].sized(480, 520)],
            [compared(before, best, "Plain and best"), saved[1].sized(480, 520)],
        ),
        thumbnail=(Shot("Plain and best", "plain", 0, "a_images"), Shot("Plain and best", "best of 8", 0, "b_images")),
    )


def _search(drawing: Drawing, given: dict) -> tuple[list[Node], Node]:
    """Sampler and schedule, and *Search Best Pictures* with them; as the KSampler has them."""
    names = drawing.sampling
    sampler = Node("KSamplerSelect", sampler_name=names["sampler_name"])
    schedule = Node(
        "BasicScheduler", model=drawing.model, scheduler=names["scheduler"], steps=names["steps"], denoise=1.0
    )
    positive, negative = (text["CONDITIONING"] for text in drawing.texts)
    best = Node(
        "IQASearch",
        sampler=sampler["SAMPLER"],
        sigmas=schedule["SIGMAS"],
        latent_image=drawing.latent["LATENT"],
        positive=positive,
        negative=negative,
        method="successive halving",
        budget=8,
        keep=1,
        cfg=names["cfg"],
        seed=1,
        **given,
    )
    return [sampler, schedule], best
