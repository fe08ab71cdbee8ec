"""A sweep measured, and a quality drawn that was asked for by its measured value, without a download."""

from ..workflow import Group, Node, Note, Shot, Workflow
from ._quickstart import sampled, written

model = Node("IQAQuickstartModel", batch_size=8)
texts = written(model)
adapter = Node("IQAAdapterLoader", adapter_name="quickstart_score.safetensors")
sweep = Node(
    "IQAQualitySweep", iqa_adapter=adapter["iqa_adapter"], latent=model["LATENT"], rows="1, 20, 30, 35, 40, 45, 60, 99"
)
swept = Node("IQAAdapterApply", "Apply the sweep", model=model["MODEL"], iqa_embeds=sweep["iqa_embeds"], strength=1.25)
draw = sampled("Draw the sweep", swept, texts, sweep, steps=12)
pictures = Node("VAEDecode", samples=draw["LATENT"], vae=model["VAE"])
judge = Node("IQAModelLoader", metric="quickstart_iqa")
scores = Node(
    "IQAScoreImages", "Score the sweep", iqa_model=judge["iqa_model"], images=pictures["IMAGE"], protocol="64"
).sized(340, 260)
calibration = Node(
    "IQACalibrate",
    iqa_adapter=adapter["iqa_adapter"],
    model=model["MODEL"],
    strength=1.25,
    iqa_scores=scores["iqa_scores"],
    requested=sweep["requested"],
    note="12 steps of dpmpp_2m, cfg 3",
).sized(420, 520)
asked = Node(
    "IQAQualityEmbed",
    "Ask for a measured quality",
    iqa_adapter=adapter["iqa_adapter"],
    aesthetics=50.0,
    targets="quickstart_iqa=measured 0.8",
    calibration=calibration["calibration"],
)
said = Node("PreviewAny", "What was asked for", source=asked["request"]).sized(340, 220)
applied = Node(
    "IQAAdapterApply", "Apply the request", model=model["MODEL"], iqa_embeds=asked["iqa_embeds"], strength=1.25
)
again = sampled("Draw with other seeds", applied, texts, model, steps=12, seed=100)
drawn = Node("VAEDecode", "Decode the result", samples=again["LATENT"], vae=model["VAE"])
check = Node(
    "IQAScoreImages", "Score the result", iqa_model=judge["iqa_model"], images=drawn["IMAGE"], protocol="64"
).sized(340, 320)
grid = Node("IQAImageGrid", images=drawn["IMAGE"], columns=4, iqa_scores=check["iqa_scores"])
save = Node("SaveImage", "Save the grid", images=grid["IMAGE"], filename_prefix="quickstart_calibrate")

WORKFLOW = Workflow(
    Group(
        "1  Model and prompt",
        [
            Note("Press **Run**: 72 pictures are drawn and measured. Nothing is downloaded.", "Step 1"),
            model.sized(340, 200),
        ],
        list(texts),
    ),
    Group("2  Sweep", [adapter, sweep, swept], [draw, pictures, judge, scores]),
    Group(
        "3  Calibrate",
        [
            Note("It is kept beside the adapter. Later, leave out *iqa_scores* and *requested*.", "Step 2"),
            calibration,
        ],
    ),
    Group(
        "4  Ask for what shall be measured",
        [Note("The mean of the pictures shall be **0.8**. Try 0.6, or 0.99.", "Step 3"), asked, said, applied],
    ),
    Group("5  Draw other pictures and measure", [again, drawn, check], [grid, save.sized(640, 420)]),
    thumbnail=(Shot("Calibrate Adapter"),),
    quickstart={  # a third of the time
        "Quickstart Model": {"batch_size": 4},
        "Draw the sweep": {"steps": 8},
        "Draw with other seeds": {"steps": 8},
    },
)
