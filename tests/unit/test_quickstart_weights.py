"""The weights in the repository do what the model card says."""

import json
import zlib

import nodes
import pytest
import torch
from scipy.stats import spearmanr

from iqa_adapter.adapter.checkpoint import load_adapter
from iqa_adapter.adapter.tokens import embed_features, embed_quality
from iqa_adapter.evaluation.formulas import noise
from iqa_adapter.files import WrongFile, write_tensors
from iqa_adapter.nodes.quickstart import example_scene
from iqa_adapter.pictures import distortions
from iqa_adapter.pictures.photos import photo
from iqa_adapter.quality import targets
from iqa_adapter.quickstart import adapters, iqa
from iqa_adapter.quickstart import world as scenes
from iqa_adapter.quickstart.making import export
from iqa_adapter.quickstart.making.iqa import QualityTarget
from iqa_adapter.quickstart.making.reader import WarpAndGrain
from iqa_adapter.quickstart.model import WEIGHTS, load_quickstart
from iqa_adapter.quickstart.reader import load_reader
from iqa_adapter.quickstart.rendering import render_pictures
from iqa_adapter.quickstart.sampling import BatchSampler
from iqa_adapter.quickstart.weights_file import read_weights
from iqa_adapter.quickstart.world import prompt


@pytest.fixture(scope="module")
def held_out():
    """Clean scenes, distorted scenes, kinds and severities; one object each, seeds that training never used."""
    seeds = scenes.HELD_OUT_SEEDS[20_000:20_120]
    chosen = [scenes.sample_scene(seed, two_objects=0) for seed in seeds]
    clean = render_pictures(chosen)
    return chosen, clean, *distortions.distort_randomly(clean, 1 / 8, torch.Generator().manual_seed(1))


def test_weights_stay_small():
    assert sum(file.stat().st_size for file in WEIGHTS.rglob("*.safetensors")) <= 12e6


def test_iqa_model_ranks_held_out_scenes(held_out):
    _, clean, distorted, _, _ = held_out
    model, _ = iqa.load_iqa(WEIGHTS)
    with torch.no_grad():
        predicted = model(distorted).flatten()
    assert spearmanr(predicted, QualityTarget()(distorted, clean)).statistic > 0.8


def test_reader_reads_clean_scenes(held_out):
    chosen, clean, *_ = held_out
    reader, _ = load_reader(WEIGHTS)
    read = reader.read(clean)
    for name, least in (("colour", 0.85), ("shape", 0.7), ("texture", 0.85)):
        truth = [getattr(scene.things[0], name, None) or getattr(scene, name, None) for scene in chosen]
        hits = sum(a == b for a, b in zip(read[name], truth, strict=True)) / len(chosen)
        assert hits >= least, f"{name}: {hits:.2f}"


def test_reader_recognises_distortions_and_severities_in_warped_and_grainy_pictures(held_out):
    _, clean, *_ = held_out
    reader, _ = load_reader(WEIGHTS)
    torch.manual_seed(3)
    warp_and_grain = WarpAndGrain(share=1)
    pictures, kinds, severity = warp_and_grain.distort_randomly(clean, 0.2, torch.Generator().manual_seed(2))
    with torch.no_grad():
        seen = reader(pictures)
    visible = (kinds == 0) | (severity > 0.4)
    assert (seen["distortion"].argmax(1) == kinds)[visible].float().mean() > 0.8
    bad = kinds > 0
    estimated = seen["severity"][bad, kinds[bad] - 1]
    assert spearmanr(estimated, severity[bad]).statistic > 0.8


def test_background_follows_the_prompt():
    """Ten steps of ComfyUI's sampler: a navy background comes out bluer and darker than a beige one."""
    model, clip, vae = load_quickstart()
    encode = nodes.CLIPTextEncode().encode
    empty = encode(clip, "")[0]
    latent = {"samples": torch.zeros(2, 12, 32, 32)}
    means = {}
    for colour in ("navy", "beige"):
        positive = encode(clip, f"a plain white circle on a {colour} gradient")[0]
        result = nodes.KSampler().sample(model, 3, 10, 3.0, "euler", "normal", positive, empty, latent)[0]
        means[colour] = vae.decode(result["samples"]).mean((0, 1, 2))
    assert means["navy"].mean() < means["beige"].mean() - 0.15
    assert means["navy"][2] - means["navy"][0] > means["beige"][2] - means["beige"][0] + 0.1


@pytest.fixture(scope="module")
def drawn():
    """``(tokens, strength)`` -> pictures of two held-out prompts with eight seeds each."""
    chosen = [scenes.sample_scene(scenes.HELD_OUT_SEEDS[50_000 + i], scenes.HELD_OUT_THINGS, 0) for i in range(2)]
    prompts, sample = [prompt(scene) for scene in chosen for _ in range(8)], BatchSampler(*load_quickstart())
    return lambda tokens, strength: sample(prompts, range(16), tokens, strength)


def test_quality_follows_the_request(drawn):
    adapter = load_adapter(WEIGHTS / adapters.SCORE.file)
    metrics, (model, _) = [*adapter.metadata.metrics], iqa.load_iqa(WEIGHTS)
    means = []
    for level in (1, 99):
        request = torch.tensor([targets.sliders(metrics, level, 50)]).expand(16, -1)
        means.append(iqa.quality(model, drawn(embed_quality(adapter, request), adapters.SCORE.strength)).mean().item())
    assert means[1] > means[0] + 0.1


def test_noise_follows_the_reference(drawn):
    """A noisy photograph makes the pictures noisier than a blurred one; neither was seen in training."""
    adapter, (model, _) = load_adapter(WEIGHTS / adapters.REFERENCE.file), iqa.load_iqa(WEIGHTS)
    sigma = {}
    for kind in ("white_noise", "gaussian_blur"):
        reference = distortions.distort(photo("cat"), kind, 0.8, torch.Generator())
        tokens = embed_features(adapter, iqa.features(model, reference.expand(16, -1, -1, -1)))
        sigma[kind] = noise(drawn(tokens, adapters.REFERENCE.strength)).mean().item()
    assert sigma["white_noise"] > 2 * sigma["gaussian_blur"]


@pytest.mark.parametrize(
    ("workflow", "kind"), [("quality_sweep", adapters.SCORE), ("reference_transfer", adapters.REFERENCE)]
)
def test_workflows_apply_the_adapters_as_evaluated(workflow, kind):
    file = WEIGHTS.parents[1] / "workflows" / "api" / f"quickstart_{workflow}.json"
    (apply,) = (node for node in json.loads(file.read_text()).values() if node["class_type"] == "IQAAdapterApply")
    assert apply["inputs"]["strength"] == kind.strength


@pytest.mark.parametrize("workflow", ["quality_sweep", "reference_transfer"])
def test_workflows_prompt_describes_the_scene_of_the_picture_node(workflow):
    file = WEIGHTS.parents[1] / "workflows" / "api" / f"quickstart_{workflow}.json"
    texts = [node["inputs"]["text"] for node in json.loads(file.read_text()).values() if "text" in node["inputs"]]
    example = example_scene(0)
    assert sorted(texts) == ["", prompt(example)]


def test_rounded_weights_are_near_and_pack_small():
    generator = torch.Generator().manual_seed(1)
    weights = {"weight": torch.randn(400, 300, generator=generator), "bias": torch.randn(300, generator=generator)}
    rounded = export.rounded(weights, export.ROUNDING)
    assert torch.equal(rounded["bias"], weights["bias"])
    error = (rounded["weight"] - weights["weight"]).square().mean().sqrt()
    assert export.ROUNDING / 3 <= error <= export.ROUNDING
    assert torch.equal(rounded["weight"], rounded["weight"].half().float())  # kept by float16
    packed, whole = (len(zlib.compress(w["weight"].half().numpy().tobytes())) for w in (rounded, weights))
    assert packed < 0.6 * whole


def test_exported_weights_keep_their_header_and_work_as_before(tmp_path):
    file, target = WEIGHTS / adapters.REFERENCE.file, tmp_path / "adapters" / "exported.safetensors"
    export.export(file, target, 0.2)
    before, after = load_adapter(file), load_adapter(target)
    assert after.metadata == before.metadata
    features = torch.randn(4, before.metadata.quality_width, generator=torch.Generator().manual_seed(2))
    exact, rounded = (embed_features(adapter, features).keys_values for adapter in (before, after))
    assert 0 < (rounded - exact).square().mean() < 0.1 * exact.square().mean()


def test_weights_as_bytes_are_near(tmp_path):
    """Each output channel has a scale of its own, and layers that decide detail stay float16."""
    matrix = torch.randn(300, 200, generator=torch.Generator().manual_seed(1)) * torch.logspace(-3, 1, 300)[:, None]
    weights = {"matrix": matrix, "bias": torch.randn(300), "unet.out.2.weight": torch.randn(12, 64, 3, 3)}
    half, small = tmp_path / "half.safetensors", tmp_path / "bytes.safetensors"
    export.write_weights(half, weights, {"epochs": 3})
    export.export_as_bytes(half, small)
    read, facts = read_weights(small)
    assert facts == {"epochs": 3} and read.keys() == weights.keys()
    assert torch.equal(read["bias"], weights["bias"].half().float())
    assert torch.equal(read["unet.out.2.weight"], weights["unet.out.2.weight"].half().float())
    error = (read["matrix"] - matrix).square().mean(1).sqrt() / matrix.square().mean(1).sqrt()
    assert 0 < error.max() < 0.012
    assert small.stat().st_size < 0.6 * half.stat().st_size


def test_a_scale_that_does_not_fit_is_refused(tmp_path):
    file = tmp_path / "bytes.safetensors"
    write_tensors(file, {"w": torch.ones(4, 2, dtype=torch.int8), "w.scale": torch.ones(3)}, {"quickstart": "{}"})
    with pytest.raises(WrongFile, match=r"bytes\.safetensors is damaged: the scale of w"):
        read_weights(file)
