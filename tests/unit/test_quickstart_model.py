"""The tiny model is a ComfyUI model like any other: sampler, prompt weights, VAE, LoRA and previews take it."""

import comfy.lora
import comfy.samplers
import comfy.utils
import latent_preview
import nodes
import numpy as np
import pytest
import torch

from iqa_adapter.quickstart import model as model_room
from iqa_adapter.quickstart.making.base_model import TinyModel
from iqa_adapter.quickstart.making.export import write_weights


@pytest.fixture(scope="module")
def quickstart(tmp_path_factory):
    """(MODEL, CLIP, VAE) on seeded random weights, through the real file format."""
    folder = tmp_path_factory.mktemp("weights")
    torch.manual_seed(0)
    weights = TinyModel().weights
    with torch.no_grad():  # layers that start at zero would hide every influence
        for weight in weights.parameters():
            if not weight.any():
                weight.normal_(std=0.05)
    write_weights(folder / model_room.BASE_WEIGHTS, weights.state_dict(), {"steps": 0})
    return model_room.load_quickstart(folder)


@pytest.fixture(scope="module")
def conditioning(quickstart):
    encode = nodes.CLIPTextEncode().encode
    return encode(quickstart[1], "a red star on gray leaves")[0], encode(quickstart[1], "")[0]


def ksampler(model, conditioning, latent, steps=2, denoise=1.0, sampler="euler", scheduler="normal"):
    return nodes.KSampler().sample(model, 1, steps, 3.0, sampler, scheduler, *conditioning, latent, denoise)[0]


def empty(batch=1):
    return {"samples": torch.zeros(batch, 12, 32, 32)}


def test_missing_weights_say_what_to_do(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"iqa\.py build"):
        model_room.load_quickstart(tmp_path)


def test_size_and_cross_attention(quickstart):
    model = quickstart[0].model
    parameters = sum(p.numel() for p in model.diffusion_model.parameters())
    assert 6.5e6 < parameters < 7.5e6
    layers = [name for name, _ in model.diffusion_model.named_modules() if name.endswith("attn2")]
    for part in ("input_blocks", "middle_block", "output_blocks"):
        assert any(name.startswith(part) for name in layers)
    first_level = ("input_blocks.1.", "input_blocks.2.")
    assert not any(name.startswith(first_level) for name in layers)


def test_unet_sees_where_a_position_lies(quickstart):
    """Without positions every place of an even latent, far from the borders, would look the same."""
    maps = model_room.positions(32, 48, torch.device("cpu"))
    assert maps.shape == (model_room.POSITION_CHANNELS, 32, 48)
    assert len({tuple(place) for place in maps.flatten(1).T.tolist()}) == 32 * 48
    unet = quickstart[0].model.diffusion_model
    seen = []
    with unet.input_blocks[0][0].register_forward_hook(lambda *call: seen.append(call[-1])), torch.no_grad():
        unet(torch.zeros(1, 12, 32, 32), torch.ones(1), context=torch.zeros(1, 24, 128), y=torch.zeros(1, 128))
    assert seen[0][..., 8:24, 8:24].flatten(2).std(2).min() > 1e-3


@pytest.mark.parametrize("sampler, scheduler", [("euler", "normal"), ("dpmpp_2m", "karras"), ("ddim", "simple")])
def test_ksampler_samples_and_repeats(quickstart, conditioning, sampler, scheduler):
    first = ksampler(quickstart[0], conditioning, empty(2), sampler=sampler, scheduler=scheduler)["samples"]
    again = ksampler(quickstart[0], conditioning, empty(2), sampler=sampler, scheduler=scheduler)["samples"]
    assert first.shape == (2, 12, 32, 32) and first.isfinite().all()
    assert torch.equal(first, again)


def test_prompt_reaches_the_picture(quickstart, conditioning):
    other = nodes.CLIPTextEncode().encode(quickstart[1], "a blue ring on navy fabric")[0]
    one = ksampler(quickstart[0], conditioning, empty())["samples"]
    two = ksampler(quickstart[0], (other, conditioning[1]), empty())["samples"]
    assert (one - two).abs().max() > 1e-3


def test_prompt_weights_change_only_with_the_weight(quickstart):
    encode = lambda text: nodes.CLIPTextEncode().encode(quickstart[1], text)[0][0][0]  # noqa: E731
    plain = encode("a red star")
    assert plain.shape == (1, 24, 128)
    assert torch.allclose(plain, encode("a (red:1.0) star"), atol=1e-6)
    assert not torch.allclose(plain, encode("a (red:1.3) star"), atol=1e-3)
    assert not torch.allclose(encode("a (red:1.3) star"), encode("a (red:0.5) star"), atol=1e-3)


def test_empty_unknown_and_long_prompts(quickstart):
    encode = lambda text: nodes.CLIPTextEncode().encode(quickstart[1], text)[0][0][0]  # noqa: E731
    assert encode("").shape == (1, 24, 128)
    assert torch.equal(encode("a zebra"), encode("a giraffe"))  # both unknown
    assert not torch.equal(encode("a zebra"), encode("a star"))
    assert encode("a red star and " * 10).shape == (1, 48, 128)


def test_vae_round_trip_loses_nothing(quickstart):
    vae = quickstart[2]
    image = torch.rand(2, 64, 96, 3)
    latent = nodes.VAEEncode().encode(vae, image)[0]
    assert latent["samples"].shape == (2, 12, 32, 48)
    assert torch.allclose(nodes.VAEDecode().decode(vae, latent)[0], image, atol=1e-6)


def test_tiled_vae_agrees(quickstart):
    vae = quickstart[2]
    image = torch.rand(1, 64, 64, 3)
    latent = vae.encode(image)
    assert torch.allclose(vae.decode_tiled(latent, tile_x=16, tile_y=16, overlap=4), image, atol=1e-5)


def test_image_to_image_keeps_the_picture_at_low_denoise(quickstart, conditioning):
    latent = nodes.VAEEncode().encode(quickstart[2], torch.rand(1, 64, 64, 3))[0]
    little = ksampler(quickstart[0], conditioning, latent, steps=20, denoise=0.05)["samples"]
    much = ksampler(quickstart[0], conditioning, latent, steps=2, denoise=0.9)["samples"]
    distance = [(x - latent["samples"]).square().mean() for x in (little, much)]
    assert distance[0] < distance[1] / 2


def test_inpainting_changes_only_the_mask(quickstart, conditioning):
    image, mask = torch.rand(1, 64, 64, 3), torch.zeros(1, 64, 64)
    mask[:, :32] = 1
    latent = nodes.VAEEncodeForInpaint().encode(quickstart[2], image, mask, grow_mask_by=0)[0]
    picture = quickstart[2].decode(ksampler(quickstart[0], conditioning, latent)["samples"])
    assert torch.allclose(picture[:, 34:], image[:, 34:], atol=1e-4)
    assert not torch.allclose(picture[:, :30], image[:, :30], atol=1e-2)


def test_preview_is_the_picture(quickstart):
    image = torch.rand(1, 64, 64, 3)
    latent_format = quickstart[0].model.latent_format
    x0 = latent_format.process_in(quickstart[2].encode(image))
    previewer = latent_preview.Latent2RGBPreviewer(
        latent_format.latent_rgb_factors,
        latent_format.latent_rgb_factors_bias,
        latent_format.latent_rgb_factors_reshape,
    )
    preview = torch.from_numpy(np.array(previewer.decode_latent_to_preview(x0)))
    assert (preview.float() / 255 - image[0]).abs().max() < 2 / 255


def test_lora_finds_and_moves_the_unet(quickstart, conditioning):
    model = quickstart[0]
    keys = comfy.lora.model_lora_keys_unet(model.model, {})
    cross = [k for k in keys if "attn2" in k and k.startswith("lora_unet_") and k.endswith("to_k")]
    assert cross
    weight = comfy.utils.get_attr(model.model, keys[cross[0]])
    generator = torch.Generator().manual_seed(2)
    lora = {
        f"{cross[0]}.lora_up.weight": torch.randn(weight.shape[0], 4, generator=generator),
        f"{cross[0]}.lora_down.weight": torch.randn(4, weight.shape[1], generator=generator),
        f"{cross[0]}.alpha": torch.tensor(4.0),
    }
    patched = model.clone()
    assert patched.add_patches(comfy.lora.load_lora(lora, keys), 1.0)
    before = ksampler(model, conditioning, empty())["samples"]
    assert not torch.allclose(ksampler(patched, conditioning, empty())["samples"], before, atol=1e-4)
    assert torch.equal(ksampler(model, conditioning, empty())["samples"], before)


def test_diffusers_names_of_all_weights_are_known(quickstart):
    """A pruned or oddly described UNet would silently lose LoRA keys here."""
    model = quickstart[0].model
    mapped = set(comfy.utils.unet_to_diffusers(model.model_config.unet_config).values())
    own = {k for k in model.diffusion_model.state_dict() if "attn2" in k}
    assert own and own <= mapped
