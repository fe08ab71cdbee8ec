"""Drawings as good as another picture is: its scores become the request."""

from ..workflow import Group, Node, Note, Shot, Workflow
from ._quickstart import sampled, written

SIZE = "64"  # of the quickstart's pictures, as its adapter was trained

judge = Node("IQAModelLoader", metric="quickstart_iqa")
picture = Node("IQAQuickstartPicture", "Picture to match", picture="cat", distortion="gaussian_blur", severity=0.5)
wanted = Node("IQAScoreImages", "Score to match", iqa_model=judge["iqa_model"], images=picture["IMAGE"], protocol=SIZE)
adapter = Node("IQAAdapterLoader", adapter_name="quickstart_score.safetensors")
quality = Node(
    "IQAQualityEmbed", iqa_adapter=adapter["iqa_adapter"], match_scores=wanted["iqa_scores"], aesthetics=50.0
)
model = Node("IQAQuickstartModel", batch_size=3)
applied = Node("IQAAdapterApply", model=model["MODEL"], iqa_embeds=quality["iqa_embeds"], strength=1.25)
texts = written(model)
sampler = sampled("", applied, texts, model)
drawn = Node("VAEDecode", samples=sampler["LATENT"], vae=model["VAE"])
scores = Node(
    "IQAScoreImages", "Scores of the drawings", iqa_model=judge["iqa_model"], images=drawn["IMAGE"], protocol=SIZE
)
save = Node("SaveImage", "Save the drawings", images=drawn["IMAGE"], filename_prefix="quickstart_match_picture")

WORKFLOW = Workflow(
    Group(
        "1  Picture to match",
        [
            Note("Change **distortion** and **severity**, then press **Run**. Nothing is downloaded.", "Step 1"),
            picture.sized(340, 400),
        ],
        [judge, wanted],
    ),
    Group(
        "2  Its score becomes the request",
        [
            Note("The sliders give way to what was measured; a batch of pictures gives a request each.", "Step 2"),
            quality,
        ],
        [adapter, applied],
    ),
    Group(
        "3  Draw three",
        [model.sized(340, 200), *texts],
        [sampler, drawn],
    ),
    Group("4  Compare", [scores], [save.sized(480, 560)]),
    thumbnail=(Shot("Picture to match", "to match"), Shot("Save the drawings", "drawn")),
)
