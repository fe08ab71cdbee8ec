"""Arithmetic with references: the noise of one picture added to the quality of another, without a download."""

from ..workflow import Group, Node, Note, Shot, Workflow
from ._quickstart import activations, sampled, written

judge = Node("IQAModelLoader", metric="quickstart_iqa")
adapter = Node("IQAAdapterLoader", adapter_name="quickstart_reference.safetensors")


def picture(title: str, name: str, distortion: str, severity: float) -> Node:
    return Node("IQAQuickstartPicture", title, picture=name, distortion=distortion, severity=severity).sized(340, 380)


pale = picture("A: pale", "cat", "contrast_loss", 0.9)
noisy = picture("B: noisy", "coffee", "white_noise", 0.5)
clean = picture("C: as B, but clean", "coffee", "clean", 0.0)
seen_a, seen_b, seen_c = (
    activations(f"Activations of {name}", judge, shown, adapter)
    for name, shown in (("A", pale), ("B", noisy), ("C", clean))
)
mixed = Node(
    "IQAMixFeatures",
    features_a=seen_a["iqa_features"],
    features_b=seen_b["iqa_features"],
    features_c=seen_c["iqa_features"],
    mode="add what B has over C",
    amount=1.0,
)
model = Node("IQAQuickstartModel", batch_size=1)
texts = written(model)


def drawn(title: str, features: Node) -> tuple[Node, Node, Node, Node]:
    """Asked for, applied, sampled and decoded."""
    quality = Node(
        "IQAReferenceEmbed",
        f"Ask for {title}",
        iqa_adapter=adapter["iqa_adapter"],
        iqa_features=features["iqa_features"],
    )
    applied = Node("IQAAdapterApply", f"Apply {title}", model=model["MODEL"], iqa_embeds=quality["iqa_embeds"])
    sampler = sampled(f"Draw {title}", applied, texts, model)
    return quality, applied, sampler, Node("VAEDecode", f"Decode {title}", samples=sampler["LATENT"], vae=model["VAE"])


of_a, of_mixture = drawn("A", seen_a), drawn("the mixture", mixed)
compare = Node("IQACompare", before=of_a[-1]["IMAGE"], after=of_mixture[-1]["IMAGE"])
grain = Node("IQAModelLoader", "Load the metric of noise", metric="noise")
scores = [
    Node("IQAScoreImages", title, iqa_model=grain["iqa_model"], images=pictures[-1]["IMAGE"], protocol="as is")
    for title, pictures in (("Noise with A", of_a), ("Noise with the mixture", of_mixture))
]
save = Node(
    "SaveImage", "Save the picture", images=of_mixture[-1]["IMAGE"], filename_prefix="quickstart_mix_references"
)

WORKFLOW = Workflow(
    Group(
        "1  References",
        [Note("**B** and **C** differ in one thing, the noise. Press **Run**: nothing is downloaded.", "Step 1"), pale],
        [judge, adapter, noisy],
        [clean],
    ),
    Group(
        "2  A plus what B has over C",
        [seen_a, seen_b, seen_c],
        [Note("A keeps its own quality and gets the noise. Try **blend**, or another *amount*.", "Step 2"), mixed],
    ),
    Group("3  Model and prompt", [model.sized(340, 200), *texts]),
    Group("4  Draw twice, with the same seed", list(of_a), list(of_mixture)),
    Group("5  Compare", [compare.sized(480, 520), grain], scores, [save.sized(480, 520)]),
    thumbnail=(
        Shot("B: noisy", "its noise"),
        Shot("Before and After", "pale", 0, "a_images"),
        Shot("Before and After", "pale + noise", 0, "b_images"),
    ),
)
