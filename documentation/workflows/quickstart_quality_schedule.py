"""Quality that rises from frame to frame, without a download."""

from ..workflow import Group, Node, Note, Shot, Workflow
from ._quickstart import sampled, written

model = Node("IQAQuickstartModel", batch_size=1)
scene = Node("IQAQuickstartPicture", "First frame", picture="scene", distortion="clean", severity=0.0)
encoded = Node("VAEEncode", pixels=scene["IMAGE"], vae=model["VAE"])
frames = Node("RepeatLatentBatch", "Nine frames of it", samples=encoded["LATENT"], amount=9)
adapter = Node("IQAAdapterLoader", adapter_name="quickstart_score.safetensors")
schedule = Node(
    "IQAQualitySchedule", iqa_adapter=adapter["iqa_adapter"], keyframes="0: 1, 8: 99", latent=frames["LATENT"]
)
applied = Node("IQAAdapterApply", model=model["MODEL"], iqa_embeds=schedule["iqa_embeds"], strength=1.25)
texts = written(model)
sampler = sampled("", applied, texts, frames, denoise=0.7)
drawn = Node("VAEDecode", samples=sampler["LATENT"], vae=model["VAE"])
judge = Node("IQAModelLoader", metric="quickstart_iqa")
scores = Node("IQAScoreImages", iqa_model=judge["iqa_model"], images=drawn["IMAGE"], protocol="64").sized(340, 320)
curve = Node("IQAResponseCurve", iqa_scores=scores["iqa_scores"], requested=schedule["requested"]).sized(340, 400)
grid = Node(
    "IQAImageGrid", images=drawn["IMAGE"], labels=schedule["labels"], columns=3, iqa_scores=scores["iqa_scores"]
)
save = Node("SaveImage", "Save the frames", images=grid["IMAGE"], filename_prefix="quickstart_quality_schedule")

WORKFLOW = Workflow(
    Group(
        "1  Frames",
        [
            Note("Press **Run**: nothing is downloaded. AnimateDiff gives frames of its own.", "Step 1"),
            scene.sized(340, 400),
        ],
        [model.sized(340, 200), encoded, frames],
    ),
    Group(
        "2  Quality over the frames",
        [
            Note("**frame: percentile**. Try `0: 99, 4: 1, 8: 99`, or *hold* between them.", "Step 2"),
            adapter,
            schedule,
            applied,
        ],
    ),
    Group("3  Draw", list(texts), [sampler, drawn]),
    Group("4  Measure", [judge, scores, curve]),
    Group("5  Compare", [grid, save.sized(520, 620)]),
    thumbnail=(Shot("Save the frames"),),
)
