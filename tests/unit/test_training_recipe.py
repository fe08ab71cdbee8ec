"""Settings that give the ways of other recipes: each does what it says, and the defaults stay what they were."""

import dataclasses
import json
import re
from pathlib import Path

import comfy.sd
import comfy.sd1_clip
import comfy.sdxl_clip
import numpy as np
import pytest
import safetensors
import torch
import training_models
import training_pictures
import training_runs
import yaml
from PIL import Image
from transformers import CLIPTokenizer

import comfyui_runtime
import iqa
from commands import processes
from iqa_adapter.adapter import checkpoint
from iqa_adapter.figures.curve import smoothed
from iqa_adapter.iqa_models import loading
from iqa_adapter.pictures.cropping import scale_to_cover
from iqa_adapter.pictures.reading import find_pictures
from iqa_adapter.quickstart.model import load_quickstart
from iqa_adapter.quickstart.text_encoder import END, PAD
from iqa_adapter.training import cache, command_line, latents, stream, tracking, trainable
from iqa_adapter.training.encoder import Models
from iqa_adapter.training.pictures_record import PicturesRecord
from iqa_adapter.training.record import RunRecord
from iqa_adapter.training.score_set import Scorer, score_dataset
from iqa_adapter.training.settings import PAPER, RECIPES, DataSettings, RunSettings
from iqa_adapter.training.table import ScoredTable

DOCUMENT = (comfyui_runtime.ROOT / "docs" / "recipe.md").read_text(encoding="utf-8")
WORDS = "a lighthouse, weather-beaten and supercalifragilistic, over thirty-three grey seas "


def item_stream(dataset=None, **changes):
    settings = training_models.fast_settings(**changes)
    return stream.ItemStream(dataset or training_models.QualitySet(), training_models.EMPTY, settings)


# Noise


def test_noise_offset_moves_the_mean_of_each_channel():
    plain, offset = item_stream(), item_stream(noise_offset=0.5)
    moved = torch.stack([offset[i]["noise"] - plain[i]["noise"] for i in range(500)])
    assert moved.flatten(2).std(2).max() < 1e-6  # the same at every place
    assert moved[:, :, 0, 0].std(0).tolist() == pytest.approx([0.5] * 4, rel=0.1)
    assert moved[:, :, 0, 0].corrcoef().isfinite().all() and not torch.equal(moved[0, 0], moved[0, 1])


# Latents


class Distributed(torch.utils.data.Dataset):
    """One picture whose latent has a distribution."""

    def __len__(self):
        return 1

    def __getitem__(self, index):
        spread = torch.tensor([0.0, 0.1, 1.0, 2.0])[:, None, None].expand(4, 8, 8)
        return {"latent": torch.full((4, 8, 8), 3.0), "deviation": spread, "quality": torch.zeros(1),
                **training_models.EMPTY}  # fmt: skip


def test_latents_are_drawn_anew_at_every_position_and_alike_at_the_same():
    first, second = item_stream(Distributed()), item_stream(Distributed())
    drawn = torch.stack([first[i]["latent"] for i in range(100)])
    assert torch.equal(drawn[7], second[7]["latent"]) and not torch.equal(drawn[7], drawn[8])
    assert drawn.mean((0, 2, 3)).tolist() == pytest.approx([3.0] * 4, abs=0.1)
    assert drawn.std((0, 2, 3)).tolist() == pytest.approx([0.0, 0.1, 1.0, 2.0], rel=0.05)
    assert torch.equal(first[7]["noise"], item_stream(training_models.QualitySet(1))[7]["noise"])


@pytest.fixture(scope="module")
def vae():
    """ComfyUI's VAE of Stable Diffusion, narrow, with random weights."""
    torch.manual_seed(0)
    sizes = {"double_z": True, "z_channels": 4, "resolution": 64, "in_channels": 3, "out_ch": 3, "ch": 32,
             "ch_mult": [1, 1, 2, 2], "num_res_blocks": 1, "attn_resolutions": [], "dropout": 0.0}  # fmt: skip
    made = comfy.sd.VAE(sd={}, config={"params": {"ddconfig": sizes, "embed_dim": 4}})
    for weight in made.first_stage_model.parameters():
        torch.nn.init.normal_(weight, std=0.1)
    return made


def test_deviation_is_that_of_the_vae_whole_and_in_tiles(vae, monkeypatch):
    pixels = training_pictures.iqa_nets.photos(1, 64, 96)[0]
    moments = vae.first_stage_model.encode(pixels.movedim(-1, 0)[None] * 2 - 1)  # the mean; the hook below sees all
    seen = []
    with vae.first_stage_model.regularization.register_forward_hook(lambda _, args, __: seen.append(args[0])):
        vae.encode(pixels[None])
    mean, logarithm = seen[0][0].float().chunk(2)
    assert torch.allclose(moments[0].float(), mean, atol=1e-5)
    (found,) = latents.encode_deviations(vae, pixels[None])
    assert torch.allclose(found, (logarithm / 2).exp(), rtol=1e-4) and found.shape == (4, 8, 12)
    (latent,) = cache.encode_pictures(vae, pixels[None])
    assert torch.equal(latent, vae.encode(pixels[None])[0])  # the hook is gone
    tiles = {"tile_x": 64, "tile_y": 64, "overlap": 16}
    monkeypatch.setattr(vae, "encode", lambda pixels: vae.encode_tiled(pixels, **tiles))
    for whole, encode in ((latent, cache.encode_pictures), (found, latents.encode_deviations)):
        (tiled,) = encode(vae, pixels[None])  # as ComfyUI does when memory is short
        assert tiled.shape == whole.shape and not tiled.is_inference()
        assert (tiled - whole).abs().mean() < 0.5 * (whole - whole.mean()).abs().mean()


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("recipe")
    training_pictures.write(folder / "photos", 3)
    (folder / "photos" / "00.txt").write_text("a red circle on a blue square " * 10)
    score_dataset(find_pictures(folder / "photos"), Scorer([loading.load_iqa_model("entropy")], "as is"), folder / "t")
    return folder


def training_set(photos, models, folder, **settings):
    chosen = DataSettings(**{"resolution": 64, "bucket_step": 8} | settings)
    return training_runs.encoding(photos / "photos", ScoredTable.read(photos / "t"), models, chosen, folder)


def test_sampled_latents_of_a_set_vary_as_the_vae_says(photos, vae, tmp_path):
    model, clip = training_models.tiny_model(), load_quickstart()[1]
    models = Models(model, clip, vae)
    mode, sample = (training_set(photos, models, tmp_path, latents=name).data.item(0) for name in ("mode", "sample"))
    made = training_set(photos, models, tmp_path)
    assert "deviation" not in mode and torch.equal(mode["latent"], made.data.item(0)["latent"])
    assert torch.equal(sample["latent"], mode["latent"])  # the mean is the most probable
    pixels = made.items.pictures[0].read()
    scale = model.model.latent_format.scale_factor
    (raw,) = latents.encode_deviations(vae, scale_to_cover(pixels, (64, 64))[None, :, 8:72])
    assert torch.allclose(sample["deviation"], scale * raw, rtol=2e-3)


def test_sampling_needs_a_distribution(photos, tmp_path):
    with pytest.raises(ValueError, match=r"latents: sample needs a VAE.*this one \(SpaceToDepth\) gives one"):
        training_set(photos, Models(*load_quickstart()), tmp_path, latents="sample")


# Scaling


@pytest.mark.parametrize("size", [(96, 128), (300, 401)])
def test_interpolation_is_pillows(size):
    picture = (training_pictures.iqa_nets.photos(1, 200, 267)[0] * 255).byte()
    made = {}
    for name, number in (("bilinear", Image.Resampling.BILINEAR), ("bicubic", Image.Resampling.BICUBIC)):
        made[name] = scale_to_cover(picture.float() / 255, size, name)
        height, width = made[name].shape[:2]
        expected = np.asarray(Image.fromarray(picture.numpy()).resize((width, height), number), np.float32) / 255
        difference = np.abs(made[name].numpy() - expected) * 255  # Pillow rounds twice, and cuts off in between
        assert difference.mean() < 0.35 and difference.max() < (1 if name == "bilinear" else 4)
    assert (made["bilinear"] - made["bicubic"]).abs().max() > 4 / 255
    assert torch.equal(made["bicubic"], scale_to_cover(picture.float() / 255, size))


def test_interpolation_and_cache_do_not_mix(photos, tmp_path):
    models = Models(*load_quickstart())
    first, bilinear, again = (
        training_set(photos, models, tmp_path, resolution=48, **chosen).data.item(0)["latent"]
        for chosen in ({}, {"interpolation": "bilinear"}, {"interpolation": "bicubic"})
    )
    assert torch.equal(first, again) and not torch.equal(first, bilinear)


# Captions


@pytest.mark.parametrize("text", ["", "a red circle", WORDS, WORDS * 3, WORDS * 12, "a (red:1.5) circle"])
def test_captions_are_cut_where_the_public_script_cuts_them(text):
    folder = Path(comfy.sd1_clip.__file__).parent / "sd1_tokenizer"
    expected = CLIPTokenizer.from_pretrained(folder)(
        text, max_length=77, padding="max_length", truncation=True
    ).input_ids
    both = cache.cut_tokens(comfy_clip(comfy.sdxl_clip.SDXLTokenizer()), text, 75)
    assert [token for token, _ in both["l"][0]] == expected and len(both["l"]) == len(both["g"]) == 1
    end = expected.index(expected[-1])
    padded = [token if place <= end or len(set(expected[end:])) > 1 else 0 for place, token in enumerate(expected)]
    assert [token for token, _ in both["g"][0]] == padded  # its padding is 0
    assert {weight for _, weight in both["l"][0]} == {1.0}


def comfy_clip(tokenizer):
    """The part of ``comfy.sd.CLIP`` that makes tokens."""
    clip = comfy.sd.CLIP(no_init=True)
    clip.tokenizer, clip.tokenizer_options = tokenizer, {}
    return clip


def test_other_limits_keep_chunks():
    clip = comfy_clip(comfy.sd1_clip.SD1Tokenizer())
    whole = cache.plain_tokens(clip, WORDS * 12)["l"]
    assert len(whole) > 2
    body = [token for chunk in whole for token, _ in chunk[1:-1]]
    for limit, chunks in ((1, 1), (74, 1), (75, 1), (76, 2), (150, 2), (151, 3)):
        cut = cache.cut_tokens(clip, WORDS * 12, limit)["l"]
        assert len(cut) == chunks and {len(chunk) for chunk in cut} == {77}
        tokens = [token for chunk in cut for token, _ in chunk if token not in (49406, 49407)]
        assert tokens == body[:limit]
    assert cache.cut_tokens(clip, WORDS * 12, 10_000) == {"l": whole}


def test_a_caption_is_learnt_as_far_as_its_limit(photos, tmp_path):
    models = Models(*load_quickstart())
    whole = training_set(photos, models, tmp_path).data.item(0)["text"]
    cut = training_set(photos, models, tmp_path, caption_limit=3).data.item(0)["text"]
    ((expected, _),) = models.clip.encode_from_tokens_scheduled(models.clip.tokenize("a red circle"))
    assert len(whole) == 4 * len(cut) and torch.allclose(cut.float(), expected[0], atol=1e-2)
    chunk = cache.cut_tokens(models.clip, "a red circle on", 3)["quickstart"][0]
    assert [token for token, _ in chunk[3:]] == [END] + [PAD] * 20
    assert torch.equal(training_set(photos, models, tmp_path).data.item(0)["text"], whole)  # kept beside the other


# Projection


@pytest.mark.parametrize("projection, width, expected", [("mlp", 48, 48), ("mlp", None, 128), ("linear", 48, 0)])
def test_width_of_the_projection_is_in_the_file(projection, width, expected, tmp_path):
    changes = {} if width is None else {"mlp_width": width}
    settings = training_models.fast_settings(projection=projection, tokens=3, **changes)
    unet = training_models.tiny_model().model.diffusion_model
    learning = trainable.TrainableAdapter.from_unet(unet, 1, settings)
    path = tmp_path / "a.safetensors"
    checkpoint.save_adapter(learning.to_adapter("a", training_models.METADATA), path)
    read = checkpoint.load_adapter(path)
    assert read.projection.mlp_width == expected and read.tokens == 3
    with safetensors.safe_open(path, "pt") as file:
        header = json.loads(file.metadata()["iqa_adapter"])
    assert (header["tokens"], header["mlp_width"]) == (3, expected)
    encoded = read.encode(torch.tensor([[0.4]]))
    assert torch.allclose(read.projection(encoded), learning.projection(encoded), atol=1e-6)
    again = trainable.TrainableAdapter.from_adapter(read, unet, 1)
    assert again.projection.mlp_width == expected


# Record


@pytest.mark.parametrize("name, value", [("latents", "sample"), ("interpolation", "bilinear"), ("caption_limit", 75),
                                         ("noise_offset", 0.1), ("min_snr_gamma", 5.0), ("mlp_width", 64)])  # fmt: skip
def test_a_run_goes_on_with_its_own_recipe_also_if_it_is_older_than_the_setting(name, value, tmp_path):
    def record(**given):
        chosen = RunSettings.from_mapping(given, "the test").by_name()
        return RunRecord(json.loads(json.dumps(chosen)), {}, {}, "", PicturesRecord._of_mapping({}), "0.2.0")

    old = record()
    old.settings.pop(name)
    record().check(old, tmp_path)
    with pytest.raises(ValueError, match=f"with other settings .{name} "):
        record(**{name: value}).check(old, tmp_path)
    with pytest.raises(ValueError, match=f"with other settings .{name} "):
        record(**{name: value}).check(record(), tmp_path)


# Trackers


def test_trackers(monkeypatch):
    assert tracking.chosen_tracker("none") is None
    assert tracking.chosen_tracker("auto") == tracking.chosen_tracker("tensorboard") == "tensorboard"
    monkeypatch.setattr("accelerate.utils.is_wandb_available", lambda: False)
    monkeypatch.setattr("accelerate.utils.is_tensorboard_available", lambda: False)
    assert tracking.chosen_tracker("auto") is None
    for name in ("wandb", "tensorboard"):
        with pytest.raises(ImportError, match=f"tracker: {name} needs a package: pip install {name}"):
            tracking.chosen_tracker(name)


def test_losses_that_are_no_numbers_are_no_part_of_the_average():
    losses = [1.0] * 40 + [float("nan"), float("inf")] + [2.0] * 40
    found = smoothed(losses)
    assert found[39] == 1.0 and found[41] == 1.0 and found[-1] == 2.0 and np.isfinite(found).all()


# The paper's


def test_the_papers_recipe_is_one_switch(tmp_path):
    words = ["train", "p", "t", "name", "--checkpoint", "quickstart", "--recipe", "paper"]
    file = tmp_path / "mine.yaml"
    file.write_text("caption_limit: 0\nsteps: 7")
    given, _ = command_line._settings(iqa.parse([*words, "--settings", str(file), "--set", "steps=9"]))
    assert given == PAPER | {"caption_limit": 0, "steps": 9}
    given, _ = command_line._settings(iqa.parse(words[:-2]))
    assert given == {}
    assert set(RECIPES) == {"default", "paper"}


@pytest.mark.parametrize(
    "words, arguments",
    [([], []), (["--fp32-vae"], ["--fp32-vae"]), (["--recipe", "paper"], ["--fp32-vae"])],
)
def test_the_papers_vae_computes_in_float32(words, arguments, monkeypatch):
    class Started(Exception):
        pass

    def start(*given):
        raise Started(list(given))

    monkeypatch.setattr(processes, "start_comfyui", start)
    with pytest.raises(Started) as started:
        iqa.main(["train", "p", "t", "name", "--checkpoint", "quickstart", *words])
    assert started.value.args[0] == arguments


def test_the_document_gives_the_papers_recipe():
    block = re.search(r"```yaml\n(.*?)```", DOCUMENT, re.DOTALL).group(1)
    assert yaml.safe_load(block) == PAPER
    chosen = RunSettings.from_mapping(PAPER, "the paper").by_name()
    plain = RunSettings.from_mapping({}, "the defaults").by_name()
    assert {name: value for name, value in chosen.items() if value != plain[name]} == PAPER


def test_the_document_names_every_setting_that_the_help_compares_with_the_paper():
    groups = (type(group) for group in vars(RunSettings.from_mapping({}, "")).values())
    known = [field for group in groups for field in dataclasses.fields(group)]
    compared = [field.name for field in known if field.metadata["setting"].paper]
    assert len(compared) > 15
    assert [name for name in compared if f"`{name}" not in DOCUMENT] == []
    named = set(re.findall(r"`([a-z_]+)(?:: [^`]*)?`", DOCUMENT))
    assert {"latents", "interpolation", "caption_limit", "noise_offset", "min_snr_gamma", "mlp_width"} <= named
