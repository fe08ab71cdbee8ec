"""The quality of a distorted photograph, onto drawings and onto an edited picture, without a download."""

from ..workflow import Group, Node, Note, Shot, Workflow
from ._quickstart import activations, sampled, written

model = Node("IQAQuickstartModel")
reference = Node("IQAQuickstartPicture", "Reference", picture="cat", distortion="motion_blur", severity=0.9)
judge = Node("IQAModelLoader", metric="quickstart_iqa")
adapter = Node("IQAAdapterLoader", adapter_name="quickstart_reference.safetensors")
seen = activations("", judge, reference, adapter)
quality = Node("IQAReferenceEmbed", iqa_adapter=adapter["iqa_adapter"], iqa_features=seen["iqa_features"])
applied = Node("IQAAdapterApply", model=model["MODEL"], iqa_embeds=quality["iqa_embeds"])
texts = written(model)
draw = sampled("Text to image", applied, texts, model)
drawn = Node("VAEDecode", samples=draw["LATENT"], vae=model["VAE"])
scene = Node("IQAQuickstartPicture", "Picture to edit", picture="scene", distortion="clean", severity=0.0)
encoded = Node("VAEEncode", pixels=scene["IMAGE"], vae=model["VAE"])
edit = sampled("Image to image", applied, texts, encoded, denoise=0.5)
edited = Node("VAEDecode", samples=edit["LATENT"], vae=model["VAE"])


def scored(title: str, pictures: Node) -> Node:
    return Node("IQAScoreImages", title, iqa_model=judge["iqa_model"], images=pictures["IMAGE"])


scores = scored("Scores of the drawings", drawn)
grid = Node(
    "IQAImageGrid", images=drawn["IMAGE"], labels="\n".join(["drawn"] * 4), columns=2, iqa_scores=scores["iqa_scores"]
)
save = Node("SaveImage", "Save the grid", images=grid["IMAGE"], filename_prefix="quickstart_reference_transfer")
compare = Node("IQACompare", before=scene["IMAGE"], after=edited["IMAGE"])

WORKFLOW = Workflow(
    Group(
        "1  Reference: whose quality to take",
        [
            Note("Change **distortion** and **severity**, then press **Run**. Nothing is downloaded.", "Step 1"),
            reference.sized(340, 400),
        ],
        [
            Note("What the IQA model sees in it becomes the condition: its quality, not its content.", "Step 2"),
            judge,
            adapter,
        ],
    ),
    Group("2  Ask for its quality", [seen, quality, applied]),
    Group("3  Model and prompt", [model.sized(340, 200), *texts]),
    Group("4  Draw with it", [draw, drawn, Note("Four drawings with the reference's quality.", "Step 3")]),
    Group(
        "5  Edit with it",
        [scene.sized(340, 400), encoded],
        [edit, edited, Note("More **denoise** takes more of the quality, and keeps less of the scene.", "Step 4")],
    ),
    Group(
        "6  The edit",
        [compare.sized(480, 520), Note("The edit's score moves towards the reference's, the drawings more.", "Step 5")],
        [scored("Score of the reference", reference)],
        [scored("Score of the edit", edited)],
    ),
    Group("7  The drawings", [scores, grid], [save.sized(480, 760)]),
    thumbnail=(Shot("Reference", "reference"), Shot("Before and After", "before", 0, "a_images"),
               Shot("Before and After", "after", 0, "b_images")),
)  # fmt: skip
