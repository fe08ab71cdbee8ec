"""Every file layout in, one layout out; bad files end in one sentence."""

import pickle
import subprocess
import sys
from pathlib import Path

import models
import pytest
import torch
from safetensors.torch import load_file, save_file

from comfyui_runtime import ROOT
from iqa_adapter.adapter import checkpoint, metadata
from iqa_adapter.adapter import sites as layers

PAIR = metadata.Metadata(metrics=({"name": "topiq_nr"}, {"name": "laion_aes"}))


@pytest.fixture(scope="module")
def model():
    return models.comfy_model("SD1.5")


@pytest.fixture(scope="module", params=[False, True], ids=["linear", "mlp"])
def adapter(request, model):
    return models.random_adapter(model, mlp=request.param)


def released(adapter):
    state = {f"image_proj.{key}": value for key, value in adapter.projection.state_dict().items()}
    for number, layer in enumerate(adapter.layers):
        state[f"ip_adapter.{2 * number + 1}.to_k_ip.weight"] = layer.key
        state[f"ip_adapter.{2 * number + 1}.to_v_ip.weight"] = layer.value
    return state


def nested(adapter):
    state = {"image_proj": {}, "ip_adapter": {}}
    for key, value in released(adapter).items():
        group, name = key.split(".", 1)
        state[group][name] = value
    return state


def raw(adapter):
    names = {"image_proj.": "qual_proj_model.", "ip_adapter.": "adapter_modules."}
    state = {"unet.conv_in.weight": torch.ones(4), "unet.mid.processor.to_k_ip.weight": torch.ones(4)}
    for key, value in released(adapter).items():
        prefix = next(prefix for prefix in names if key.startswith(prefix))
        state["module." + names[prefix] + key.removeprefix(prefix)] = value
    return state


def write(layout, adapter, folder):
    if layout == "ours":
        checkpoint.save_adapter(adapter, folder / "ours.safetensors")
        return folder / "ours.safetensors"
    if layout == "released safetensors":
        save_file(released(adapter), folder / "released.safetensors")
        return folder / "released.safetensors"
    path = folder / "adapter.bin"
    state = raw(adapter) if layout == "raw" else nested(adapter)
    torch.save(state, path, _use_new_zipfile_serialization=layout != "legacy bin")
    return path


@pytest.mark.parametrize("layout", ["ours", "released safetensors", "released bin", "legacy bin", "raw"])
def test_all_layouts_give_the_same_adapter(layout, adapter, tmp_path):
    loaded = checkpoint.load_adapter(write(layout, adapter, tmp_path), None if layout == "ours" else PAIR)
    assert loaded.metadata == adapter.metadata
    assert len(loaded.layers) == 16
    quality = torch.randn(3, 2)
    tokens = loaded.projection(loaded.encode(quality))
    torch.testing.assert_close(tokens, adapter.projection(adapter.encode(quality)))
    assert torch.equal(loaded.keys_values(tokens), adapter.keys_values(tokens))


@pytest.mark.parametrize(("use_flag", "octaves"), [(False, 0), (True, 0), (True, 10)])
def test_flag_and_positional_encoding_follow_from_the_width(model, use_flag, octaves, tmp_path):
    adapter = models.random_adapter(model, use_flag=use_flag, positional_octaves=octaves)
    loaded = checkpoint.load_adapter(write("released bin", adapter, tmp_path), PAIR)
    assert (loaded.metadata.use_flag, loaded.metadata.positional_octaves) == (use_flag, octaves)


def test_metadata_survives_and_half_precision_halves_the_file(model, tmp_path):
    adapter = models.random_adapter(
        model,
        metrics=("f1", "f2"),
        kind="reference",
        iqa_model="arniqa",
        layer="encoder",
        pooling="mean",
        feature_mean=(0.5, 1.5),
        feature_std=(1.0, 2.0),
        origin="a test",
    )
    checkpoint.save_adapter(adapter, tmp_path / "full.safetensors")
    checkpoint.save_adapter(adapter, tmp_path / "half.safetensors", torch.float16)
    assert checkpoint.load_adapter(tmp_path / "half.safetensors").metadata == adapter.metadata
    sizes = [(tmp_path / name).stat().st_size for name in ("half.safetensors", "full.safetensors")]
    assert sizes[0] < 0.6 * sizes[1]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["full.safetensors", "half.safetensors"]


def broken(adapter, folder, damage):
    """A file with one fault, and words that its message must contain."""
    state, path = released(adapter), folder / "broken.safetensors"
    if damage == "truncated":
        save_file(state, path)
        path.write_bytes(path.read_bytes()[:-1000])
        return path, "truncated"
    if damage == "truncated bin":
        path = path.with_suffix(".bin")
        torch.save(nested(adapter), path)
        path.write_bytes(path.read_bytes()[:5000])
        return path, "truncated"
    if damage == "code":
        path = path.with_suffix(".bin")
        path.write_bytes(pickle.dumps({"image_proj": Bomb()}))
        return path, "refused"
    if damage == "code in zip":
        path = path.with_suffix(".bin")
        torch.save({"image_proj": Bomb()}, path)
        return path, "refused"
    if damage == "missing layer":
        del state["ip_adapter.5.to_v_ip.weight"]
        message = r"ip_adapter\.5\.to_v_ip\.weight is missing"
    elif damage == "missing projection":
        state = {key: value for key, value in state.items() if not key.startswith("image_proj")}
        message = r"no IQA-Adapter: image_proj\..* is missing"
    elif damage == "missing bias":
        state = {key: value for key, value in state.items() if not key.endswith("bias")}
        message = "incomplete or misshapen"
    elif damage == "shape":
        state["ip_adapter.3.to_k_ip.weight"] = torch.ones(32, 8)
        message = r"ip_adapter\.3\.to_k_ip\.weight has shape \(32, 8\), expected \(32, 32\)"
    elif damage == "norm":
        state["image_proj.norm.weight"] = torch.ones(7)
        message = "does not fit"
    elif damage == "something else":
        state, message = {"model.weight": torch.ones(3)}, "no IQA-Adapter"
    save_file(state, path)
    return path, message


class Bomb:
    """A pickle that would run code."""

    def __reduce__(self):
        return sys.exit, ("the pickle ran",)


@pytest.mark.parametrize(
    "damage",
    [
        "truncated",
        "truncated bin",
        "code",
        "code in zip",
        "missing layer",
        "missing projection",
        "missing bias",
        "shape",
        "norm",
        "something else",
    ],
)
def test_bad_files_are_refused_in_one_sentence(damage, adapter, tmp_path):
    path, message = broken(adapter, tmp_path, damage)
    with pytest.raises(ValueError, match=message) as error:
        checkpoint.load_adapter(path, PAIR)
    assert path.name in str(error.value) and "\n" not in str(error.value)


def test_missing_file():
    with pytest.raises(FileNotFoundError, match="models/iqa_adapter"):
        checkpoint.load_adapter("nowhere.safetensors")


def test_a_bare_file_needs_its_metrics(adapter, tmp_path):
    path = write("released bin", adapter, tmp_path)
    with pytest.raises(ValueError, match="does not say which metrics.*takes 2 inputs"):
        checkpoint.load_adapter(path)
    three = metadata.Metadata(metrics=tuple({"name": name} for name in "abc"))
    with pytest.raises(ValueError, match="takes 2 inputs, which does not fit 3"):
        checkpoint.load_adapter(path, three)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"kind": "other"}', "kind must be"),
        ('{"kind": "score"}', "must name its metrics"),
        ('{"kind": "reference"}', "must name its iqa_model"),
        ('{"version": 2, "metrics": [{"name": "a"}]}', "Update ComfyUI-IQA-Adapter"),
        ("[1]", "cannot be understood"),
        ("{", "EOF while parsing"),
    ],
)
def test_contradicting_metadata_is_refused(text, message):
    with pytest.raises(ValueError, match=message):
        metadata.Metadata.from_json(text)


def test_unknown_metadata_fields_of_later_packs_are_ignored():
    assert metadata.Metadata.from_json('{"metrics": [{"name": "a"}], "colour": "red"}').metric_names == ("a",)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("layout", ["ours", "released bin"])
def test_layer_weights_of_a_large_file_lie_in_it(layout, adapter, tmp_path, monkeypatch):
    path = write(layout, adapter, tmp_path)
    monkeypatch.setattr(checkpoint, "SMALL", path.stat().st_size - 1)
    loaded = checkpoint.load_adapter(path, PAIR)
    maps = [line.split() for line in Path("/proc/self/maps").read_text().splitlines() if line.endswith(str(path))]
    ranges = [tuple(int(end, 16) for end in fields[0].split("-")) for fields in maps]
    for layer in loaded.layers:
        assert any(start <= layer.key.data_ptr() < end for start, end in ranges)


def test_convert_on_the_command_line(adapter, tmp_path):
    source, target = write("raw", adapter, tmp_path), tmp_path / "new.safetensors"
    command = [sys.executable, "iqa.py", "convert", str(source), str(target), "--metrics", "topiq_nr", "laion_aes"]
    done = subprocess.run([*command, "--dtype", "float16"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "score adapter for a UNet with 16 cross-attention layers of context width 32" in done.stdout
    loaded = checkpoint.load_adapter(target)
    assert loaded.metadata.metrics[1].aesthetic
    assert loaded.metadata.metrics[0].percentiles[99] == 0.747905
    assert {value.dtype for value in load_file(target).values()} == {torch.float16}
    failed = subprocess.run([*command[:-2], *"abc"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert failed.returncode == 1 and "takes 2 inputs" in failed.stderr.splitlines()[-1]


class TestFit:
    def test_wrong_family(self, model):
        adapter = models.random_adapter(model)
        other = layers.sites(models.comfy_model("SSD-1B").model.diffusion_model)
        shapes = [tuple(layer.key.shape) for layer in adapter.layers]
        with pytest.raises(ValueError, match="made for a UNet with 16 .* but the connected model is a UNet with 34"):
            layers.check_fit(adapter.name, shapes, other)

    def test_family_names(self):
        assert layers.family_name(2048, 70) == "SDXL (70 cross-attention layers of context width 2048)"

    def test_same_count_other_widths(self, model):
        found = layers.sites(model.model.diffusion_model)
        shapes = [(layer.width, layer.context_width) for layer in found]
        shapes[3] = (99, 32)
        with pytest.raises(ValueError, match=r"layer 7 has the shape \(99, 32\)"):
            layers.check_fit("it", shapes, found)

    def test_dit(self):
        with pytest.raises(ValueError, match="do not work with the connected model .Linear.*SDXL.*Flux.*Z-Image"):
            layers.sites(torch.nn.Linear(1, 1))
