"""Files that strangers could send: each kind of attack and of damage, as small as it gets.

:func:`write_all` puts them into a folder; ``python hostile_files.py FOLDER`` then reads every one in this process and
prints what came of it, one JSON object per reading.
"""

import gzip
import io
import json
import pickle
import random
import resource
import struct
import sys
import time
import zipfile
from collections import OrderedDict
from pathlib import Path

import safetensors.torch
import torch

MAGIC = pickle.dumps(0x1950A86A20F9469CFC6C, 2) + pickle.dumps(1001, 2)
SYSTEM = pickle.dumps({"protocol_version": 1001, "little_endian": True, "type_sizes": {}}, 2)
MB = 2**20

# Pickles, operation by operation


def word(text: str) -> bytes:
    data = text.encode("utf-8", "surrogatepass")
    return b"X" + struct.pack("<I", len(data)) + data


def number(value: int) -> bytes:
    return pickle.dumps(value, 2)[2:-1]


def named(module: str, name: str) -> bytes:
    return f"c{module}\n{name}\n".encode()


def together(*parts: bytes) -> bytes:
    return b"(" + b"".join(parts) + b"t"


def storage(count=4, key="0", kind="FloatStorage") -> bytes:
    return together(word("storage"), named("torch", kind), word(key), word("cpu"), number(count)) + b"Q"


ORDERED = named("collections", "OrderedDict") + b")R"
V2 = named("torch._utils", "_rebuild_tensor_v2")


def tensor(size=(4,), stride=(1,), offset=0, held=None, function=V2) -> bytes:
    numbers = [together(*map(number, values)) if type(values) is tuple else number(values) for values in (size, stride)]
    return function + together(held or storage(), number(offset), *numbers, b"\x89", ORDERED) + b"R"


def entry(name: str, value: bytes) -> bytes:
    return b"}" + word(name) + value + b"s"


def program(body: bytes) -> bytes:
    return b"\x80\x02" + body + b"."


def zipped(body: bytes, script=False, compression=zipfile.ZIP_STORED, more=(), data=bytes(16)) -> bytes:
    output = io.BytesIO()
    with zipfile.ZipFile(output, "w", compression) as archive:
        archive.writestr("archive/data.pkl", program(body))
        archive.writestr("archive/version", b"3\n")
        archive.writestr("archive/data/0", data)
        if script:
            archive.writestr("archive/constants.pkl", program(b")"))
        for name, content in more:
            archive.writestr(name, content)
    return output.getvalue()


def legacy(body: bytes) -> bytes:
    return MAGIC + SYSTEM + program(body) + program(b"]" + word("0") + b"a") + struct.pack("<q", 4) + bytes(16)


def saved(content: object, new=True) -> bytes:
    output = io.BytesIO()
    torch.save(content, output, _use_new_zipfile_serialization=new)
    return output.getvalue()


# Kinds

SCRIPT = named("__torch__", "M") + b")\x81"


def circles() -> dict[str, bytes]:
    found = {}
    for kind, make, put in (
        ("dict", b"}q\x00", word("a") + b"h\x00s"),
        ("ordered", ORDERED + b"q\x00", word("a") + b"h\x00s"),
        ("list", b"]q\x00", b"h\x00a"),
        ("script", SCRIPT + b"q\x00", b"}" + word("a") + b"h\x00sb"),
    ):
        found[f"circle_{kind}"] = zipped(make + put, kind == "script")
        found[f"circle_{kind}_legacy"] = legacy(entry("params", make + put))
    return found


def repeated() -> dict[str, bytes]:
    """Parts within parts, each twice: 2^30 in few bytes."""
    found = {}
    for kind, pair in (
        ("dict", lambda n: b"}(" + word("a") + get(n) + word("b") + get(n) + b"u"),
        ("ordered", lambda n: ORDERED + b"(" + word("a") + get(n) + word("b") + get(n) + b"u"),
        ("list", lambda n: b"](" + get(n) + get(n) + b"e"),
        ("tuple", lambda n: get(n) + get(n) + b"\x86"),
        ("script", lambda n: SCRIPT + b"}(" + word("a") + get(n) + word("b") + get(n) + b"ub"),
    ):
        body = (SCRIPT if kind == "script" else entry("leaf", tensor())) + b"q\x00"
        for level in range(30):
            body += pair(level) + b"q" + bytes([level + 1])
        found[f"repeated_{kind}"] = zipped(body, kind == "script")
        found[f"repeated_{kind}_legacy"] = legacy(entry("params", body))
    deep = entry("a", tensor())
    for _ in range(20_000):
        deep = b"(lp0\n" + deep + b"a" if len(deep) % 2 else deep
    found["deep_lists"] = zipped(b"]" * 50_000 + b"a" * 49_999)
    found["deep_tuples"] = zipped(b")" + b"\x85" * 50_000)
    found["deep_key"] = zipped(b"}" + b")" + b"\x85" * 50_000 + b"Ns")
    return found


def get(level: int) -> bytes:
    return b"h" + bytes([level])


def tensors() -> dict[str, bytes]:
    bodies = {
        "stride_0": tensor((60000, 60000), (0, 0)),
        "stride_0_of_all": tensor((4, 60000), (1, 0)),
        "overlapping": tensor((4, 4), (0, 1)),
        "offset_negative": tensor((1,), (1,), -1),
        "offset_huge": tensor((1,), (1,), 2**62),
        "size_negative": tensor((-1,), (1,)),
        "size_huge": tensor((2**62, 2**62), (1, 1)),
        "size_huge_and_empty": tensor((0, 2**63), (1, 1)),
        "size_beyond": tensor((5,), (1,)),
        "stride_negative": tensor((2,), (-1,), 3),
        "stride_huge": tensor((2,), (2**62,)),
        "lengths_differ": tensor((2, 2), (1,)),
        "size_is_a_number": tensor(4, 1),
        "size_is_true": V2 + together(storage(), number(0), b"\x88\x85", b"\x88\x85", b"\x89", ORDERED) + b"R",
        "dimensions": tensor((1,) * 5000, (1,) * 5000),
        "storage_huge": tensor((2**40,), (1,), held=storage(2**40)),
        "storage_negative": tensor(held=storage(-1)),
        "storage_missing": tensor(held=storage(key="1")),
        "storage_elsewhere": tensor(held=storage(key="../version")),
        "storage_unknown": tensor(held=storage(kind="QInt8Storage")),
        "storage_is_none": tensor(held=b"N"),
        "no_arguments": V2 + b")R",
        "sparse": named("torch._utils", "_rebuild_sparse_tensor") + together(number(0), number(0)) + b"R",
        "quantised": named("torch._utils", "_rebuild_qtensor") + together(storage(), number(0)) + b"R",
        "meta": named("torch._utils", "_rebuild_meta_tensor_no_storage") + together(number(0)) + b"R",
        "by_class": named("torch", "Tensor") + together(number(60000), number(60000)) + b"R",
        "by_class_new": named("torch", "Tensor") + together(number(60000), number(60000)) + b"\x81",
        "storage_by_class": named("torch", "FloatStorage") + together(number(10**10)) + b"R",
        "bytes_by_class": named("builtins", "bytearray") + together(number(10**11)) + b"R",
        "size_by_class": named("torch", "Size") + together(entry("a", b"N")) + b"R",
        "named_by_numbers": b"}" + number(1) + tensor() + b"s",
    }
    found = {}
    for name, body in bodies.items():
        body = body if name == "named_by_numbers" else entry("image_proj.norm.weight", body)
        found[f"tensor_{name}"] = zipped(body)
        found[f"tensor_{name}_legacy"] = legacy(body)
        if name != "named_by_numbers":  # attributes are names, whatever they look like
            found[f"tensor_{name}_script"] = zipped(SCRIPT + body + b"b", script=True)
    many = b"".join(word(f"t{i}") + tensor() for i in range(30_000))
    found["tensor_many"] = zipped(b"}(" + many + b"u")
    found["tensor_named_endlessly"] = zipped(entry("a" * 100_000, tensor()))
    return found


def unfolding() -> dict[str, bytes]:
    data = {"data": bytes(200 * MB)}
    held = storage(50 * MB)
    return {
        "bomb_tensor": zipped(entry("a", tensor((50 * MB,), held=held)), compression=8, **data),
        "bomb_pickle": zipped(b"N" * 60 * MB, compression=8),
        "bomb_marks": zipped(b"(" * 30 * MB, compression=8),
        "bomb_text": zipped(word("\U0001f600" * 10 * MB), compression=8),
        "bomb_lzma": zipped(b"N" * 60 * MB, compression=zipfile.ZIP_LZMA),
        "bomb_byteorder": zipped(entry("a", b"N"), compression=8, more=[("archive/byteorder", bytes(200 * MB))]),
        "bomb_names": zipped(entry("a", b"N"), more=[(f"{i}", b"") for i in range(60_000)]),
        "copied_dict": zipped(entries(20_000) + b"q\x00" + b"h\x000" * 9 + 40_000 * (
            named("collections", "OrderedDict") + b"h\x00\x85R"), compression=8),
        "copied_state": zipped(entries(20_000) + b"q\x00" + 40_000 * (SCRIPT + b"h\x00b"), script=True, compression=8),
        "copied_name": zipped(entry("a" * 400, b"](" + 60_000 * tensor((0,), (1,)) + b"e"), compression=8),
    }  # fmt: skip


def entries(count: int) -> bytes:
    return b"}(" + b"".join(number(i) + b"N" for i in range(count)) + b"u"


def changes() -> dict[str, bytes]:
    """What would alter this process, or run."""
    defaults = entry("__defaults__", b")")
    bodies = {
        "defaults": V2 + b"N" + defaults + b"\x86b",
        "defaults_dict": V2 + defaults + b"b",
        "class": named("collections", "OrderedDict") + defaults + b"b",
        "storage_class": named("torch", "FloatStorage") + b"N" + defaults + b"\x86b",
        "function_item": V2 + word("a") + b"Ns",
        "code": named("os", "mkdir") + word("HARM") + b"\x85R",
        "code_new": named("os", "mkdir") + word("HARM") + b"\x85\x81",
        "code_stack": word("os") + word("mkdir") + b"\x93" + word("HARM") + b"\x85R",
        "code_inst": b"(" + word("HARM") + b"ios\nmkdir\n",
        "code_object": b"(" + named("os", "mkdir") + word("HARM") + b"o",
        "code_builtin": named("builtins", "eval") + word("HARM") + b"\x85R",
        "code_dotted": named("torch", "serialization.os.mkdir") + word("HARM") + b"\x85R",
        "code_script": named("__torch__.os", "mkdir\x00\u202e") + word("HARM") + b"\x85R",
        "code_half_character": word("\ud800") + word("\udfff") + b"\x93",
        "extension": b"\x82\x01",
        "call_text": word("a") + b")R",
        "persistent_text": word("a") + b"Q",
        "stack_names": b"}" + b"}\x93",
    }
    found = {}
    for name, body in bodies.items():
        found[f"change_{name}"] = zipped(entry("a", body))
        found[f"change_{name}_legacy"] = legacy(entry("a", body))
        found[f"change_{name}_bare"] = program(body)
        found[f"change_{name}_script"] = zipped(SCRIPT + entry("a", body) + b"b", script=True)
    return found


def senseless() -> dict[str, bytes]:
    found = {f"operation_{code:02x}": program(bytes([code])) for code in range(256) if code not in b"N()]}\x88\x89"}
    found |= {f"operation_{code:02x}_zip": zipped(bytes([code])) for code in range(256)}
    huge = struct.pack("<Q", 2**40)
    found |= {
        "long_memo": zipped(b"Nr" + struct.pack("<I", 2**31) + b"0}"),
        "long_memo_text": zipped(b"Np" + b"9" * 4000 + b"\n0}"),
        "long_text": zipped(b"\x8d" + huge),
        "long_bytes": zipped(b"\x8e" + huge),
        "long_array": zipped(b"\x96" + huge),
        "long_frame": zipped(b"\x95" + huge),
        "long_number": zipped(b"\x8b" + struct.pack("<i", MB) + b"\x01" * MB),
        "long_number_text": zipped(b"I" + b"9" * 100_000 + b"\n"),
        "long_line": zipped(b"c" + b"a" * 5 * MB),
        "no_stop": b"\x80\x02}",
        "list_of_keys_missing": MAGIC + SYSTEM + program(entry("a", tensor())),
        "keys_are_tuples": MAGIC + SYSTEM + program(entry("a", tensor())) + program(b"])\x85a"),
        "storage_length_negative": legacy(entry("a", tensor()))[:-24] + struct.pack("<q", -4) + bytes(16),
        "storage_length_huge": legacy(entry("a", tensor()))[:-24] + struct.pack("<q", 2**60) + bytes(16),
    }
    return found


def something_else() -> dict[str, bytes]:
    picture = b"\x89PNG\r\n\x1a\n" + bytes(100)
    other = io.BytesIO()
    with zipfile.ZipFile(other, "w") as archive:
        archive.writestr("readme.txt", "nothing")
    return {
        "empty": b"",
        "html": b"\n <!DOCTYPE html><html><body>404</body></html>",
        "json": b'{"error": "Invalid credentials"}',
        "lfs": b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n",
        "picture": picture,
        "gzip": gzip.compress(saved({"a": torch.ones(3)})),
        "zip_of_something": other.getvalue(),
        "text": b"hello",
        "noise": random.Random(0).randbytes(1000),
        "pickle_of_something": pickle.dumps([1, 2], 2),
        "text_in_torch": saved("hello"),
        "list_in_torch": saved([1, {"a": [None]}]),
    }


def headers() -> dict[str, bytes]:
    """Safetensors."""

    def file(text: str, data: bytes = b"", length: int | None = None) -> bytes:
        return struct.pack("<Q", len(text.encode()) if length is None else length) + text.encode() + data

    deep = "[" * 100_000
    entry = '{"a":{"dtype":"%s","shape":%s,"data_offsets":%s}}'
    return {
        "header_long": file("{}", length=2**62),
        "header_longer_than_file": file("{}", length=1000),
        "header_large": file("{" + " " * 9 * MB + "}"),
        "header_deep": file('{"a":' + deep),
        "header_metadata_deep": file('{"__metadata__":' + '{"a":' * 10_000),
        "header_many": file(
            "{" + ",".join(entry[1:-1] % ("F32", "[0]", "[0,0]") for _ in range(1))
            + "".join(f',"{i}":' + entry[5:-1] % ("F32", "[0]", "[0,0]") for i in range(100_000)) + "}"
        ),
        "header_huge_shape": file(entry % ("F32", "[1000000,1000000]", "[0,16]"), bytes(16)),
        "header_overflow": file(entry % ("F32", "[4294967296,4294967296,4294967296]", "[0,16]"), bytes(16)),
        "header_negative": file(entry % ("F32", "[-4]", "[0,16]"), bytes(16)),
        "header_offsets": file(entry % ("F32", "[4]", "[16,0]"), bytes(16)),
        "header_beyond": file(entry % ("F32", "[4]", "[0,16]")),
        "header_type": file(entry % ("F99", "[4]", "[0,16]"), bytes(16)),
        "header_no_text": struct.pack("<Q", 5) + b'{"\xff\xfe}',
        "header_list": file("[1]"),
        "header_metadata_number": file('{"__metadata__":{"iqa_adapter":1}}'),
    }  # fmt: skip


# Adapters

METADATA = {"metrics": [{"name": "topiq_nr"}, {"name": "laion_aes"}]}


def weights(**changes) -> dict[str, torch.Tensor]:
    state = {
        "image_proj.proj.weight": torch.ones(8, 2),
        "image_proj.proj.bias": torch.ones(8),
        "image_proj.norm.weight": torch.ones(4),
        "image_proj.norm.bias": torch.zeros(4),
    }
    for layer in (1, 3):
        state |= {f"ip_adapter.{layer}.to_{part}_ip.weight": torch.ones(6, 4) for part in "kv"}
    state |= {name.replace("__", "."): value for name, value in changes.items()}
    return {name: value for name, value in state.items() if value is not None}


def adapter(metadata: object = METADATA, **changes) -> bytes:
    text = metadata if isinstance(metadata, str) else json.dumps(metadata)
    return safetensors.torch.save(weights(**changes), {"iqa_adapter": text})


def adapters() -> dict[str, bytes]:
    one = torch.tensor(1.0)
    wide = {f"image_proj.proj.{i}.weight": torch.ones(40_000, 1) for i in (0, 2)}
    state = {
        **wide, "image_proj.proj.0.bias": torch.ones(40_000), "image_proj.proj.2.bias": torch.ones(40_000),
        "image_proj.norm.weight": torch.ones(4), "image_proj.norm.bias": torch.ones(4),
        "ip_adapter.1.to_k_ip.weight": torch.ones(6, 4), "ip_adapter.1.to_v_ip.weight": torch.ones(6, 4),
    }  # fmt: skip
    score = {"name": "a", "mean": 0.5, "std": 0.1, "percentiles": {"1": 0.1, "99": 0.9}}
    reference = {"kind": "reference", "iqa_model": "a", "layer": "b", "pooling": "mean"}
    stated = {
        "yes": METADATA | {"use_flag": "yes"},
        "flag_number": METADATA | {"use_flag": 1},
        "octaves_text": METADATA | {"positional_octaves": "0"},
        "octaves_many": METADATA | {"positional_octaves": 10**9},
        "octaves_negative": METADATA | {"positional_octaves": -1},
        "octaves_others": METADATA | {"positional_octaves": 3},
        "metrics_text": {"metrics": ["name"]},
        "metrics_word": {"metrics": "name"},
        "metrics_dict": {"metrics": {"name": "a"}},
        "metrics_number": {"metrics": [{"name": 1}, {"name": 2}]},
        "metrics_three": {"metrics": [{"name": name} for name in "abc"]},
        "metrics_empty": {"metrics": []},
        "mean_text": {"metrics": [score | {"mean": "a"}] * 2},
        "mean_nan": {"metrics": [score | {"mean": float("nan")}] * 2},
        "std_zero": {"metrics": [score | {"std": 0}] * 2},
        "std_infinite": {"metrics": [score | {"std": float("inf")}] * 2},
        "percentiles_list": {"metrics": [score | {"percentiles": [1, 2]}] * 2},
        "percentiles_falling": {"metrics": [score | {"percentiles": {"1": 1, "99": 0}}] * 2},
        "percentiles_rank": {"metrics": [score | {"percentiles": {"nan": 1, "x": 0}}] * 2},
        "higher_text": {"metrics": [score | {"higher_is_better": "no"}] * 2},
        "features_text": reference | {"feature_mean": ["a", "b"], "feature_std": [1, 1]},
        "features_nan": reference | {"feature_mean": [float("nan")] * 2, "feature_std": [1, 1]},
        "features_number": reference | {"feature_mean": 1, "feature_std": 1},
        "features_uneven": reference | {"feature_mean": [1.0, 1.0], "feature_std": [1.0]},
        "features_three": reference | {"feature_mean": [1.0] * 3, "feature_std": [1.0] * 3},
        "kind_number": METADATA | {"kind": 1},
        "kind_other": METADATA | {"kind": "\u202eother\n"},
        "protocol_number": METADATA | {"protocol": 512},
        "protocol_text": METADATA | {"protocol": "large"},
        "version_text": METADATA | {"version": "1"},
        "version_zero": METADATA | {"version": 0},
        "version_later": {"version": 99, "metrics": 1},
        "sites_number": METADATA | {"sites": [1, 2]},
        "sites_count": METADATA | {"sites": ["input.1.0"]},
        "list": [METADATA], "null": None, "number": "1", "nothing": "", "no_json": "{'a': 1}",
        "deep": "[" * 200_000, "deep_dicts": '{"a":' * 100_000, "deep_field": '{"origin":' + "[" * 200_000,
        "long": json.dumps(METADATA | {"origin": "a" * 3 * MB}),
    }  # fmt: skip
    shapes = {
        "wide_projection": safetensors.torch.save(state),
        "norm_0d": adapter(image_proj__norm__weight=one),
        "norm_bias_0d": adapter(image_proj__norm__bias=one),
        "norm_empty": adapter(image_proj__norm__weight=torch.ones(0)),
        "norm_matrix": adapter(image_proj__norm__weight=torch.ones(4, 4)),
        "projection_0d": adapter(image_proj__proj__weight=one),
        "projection_cube": adapter(image_proj__proj__weight=torch.ones(8, 2, 2)),
        "projection_empty": adapter(image_proj__proj__weight=torch.ones(8, 0)),
        "projection_integers": adapter(image_proj__proj__weight=torch.ones(8, 2, dtype=torch.int64)),
        "projection_bytes": adapter(image_proj__proj__weight=torch.ones(8, 2).to(torch.float8_e4m3fn)),
        "projection_more": adapter(image_proj__proj__other=torch.ones(8)),
        "bias_missing": adapter(image_proj__proj__bias=None),
        "layer_0d": adapter(ip_adapter__1__to_k_ip__weight=one),
        "layer_value_0d": adapter(ip_adapter__3__to_v_ip__weight=one),
        "layer_empty": adapter(ip_adapter__3__to_k_ip__weight=torch.ones(0, 4)),
        "layer_integers": adapter(ip_adapter__3__to_k_ip__weight=torch.ones(6, 4, dtype=torch.int32)),
        "layer_word": adapter(ip_adapter__abc__x=one),
        "layer_nothing": adapter(ip_adapter____x=one),
        "layer_power": adapter(**{"ip_adapter__\u00b2__x": one}),
        "layer_negative": adapter(**{"ip_adapter__-1__x": one}),
        "layer_huge": adapter(**{f"ip_adapter__{10**30}__x": one}),
        "layer_digits": adapter(**{f"ip_adapter__{'9' * 10_000}__x": one}),
        "layer_gap": adapter(ip_adapter__9999__to_k_ip__weight=torch.ones(6, 4)),
        "layers_none": safetensors.torch.save({k: v for k, v in weights().items() if "image" in k}),
        "lora": safetensors.torch.save({"lora_unet_x.lora_down.weight": torch.ones(4, 4)}),
        "controlnet": safetensors.torch.save({"control_model.x.weight": torch.ones(4, 4)}),
        "checkpoint": safetensors.torch.save({"model.diffusion_model.x.weight": torch.ones(4, 4)}),
        "nested_in_bin": saved({"image_proj": {"norm.weight": one}, "ip_adapter": [1]}),
    }
    found = {f"metadata_{name}": adapter(metadata) for name, metadata in stated.items()}
    return found | {f"adapter_{name}": content for name, content in shapes.items()}


def cut() -> dict[str, bytes]:
    """Good files that end early."""
    good = {
        "zip": saved(weights()),
        "legacy": saved(weights(), new=False),
        "ordered": saved(OrderedDict(params=OrderedDict(weights()))),
        "safetensors": adapter(),
    }
    return {f"cut_{name}_{share}": content[: len(content) * share // 10] for name, content in good.items()
            for share in (1, 3, 5, 7, 9)}  # fmt: skip


def every_reader() -> dict[str, bytes]:
    """Files that no reader can take."""
    kinds = (circles, repeated, tensors, unfolding, changes, senseless, something_else, headers, cut)
    return {name: content for kind in kinds for name, content in kind().items()}


def mutated(seed: int, count: int) -> dict[str, bytes]:
    """Good files with a few bytes changed; some stay good."""
    rng, found = random.Random(seed), {}
    script = zipped(SCRIPT + entry("weights", tensor()) + b"b", script=True)
    seeds = [saved(weights()), saved(weights(), new=False), adapter(), script]
    for i in range(count):
        data = bytearray(rng.choice(seeds))
        for _ in range(rng.choice((1, 1, 2, 8))):
            place = rng.randrange(len(data)) if rng.random() < 0.3 else rng.randrange(min(len(data), 1500))
            data[place] = rng.choice((0, 255, rng.randrange(256), data[place] ^ 1))
        found[f"mutated_{seed}_{i}"] = bytes(data)
    return found


# Reading


def read_all(folder: Path) -> None:
    """Read every file of ``folder`` with every reader, in this process, in the memory that it may take."""
    sys.path.insert(0, str(Path(__file__).parents[1]))
    import comfyui_runtime

    comfyui_runtime.load_pack()
    torch.set_num_threads(1)
    from iqa_adapter.adapter.checkpoint import load_adapter
    from iqa_adapter.adapter.metadata import Metadata
    from iqa_adapter.iqa_models import weights as weight_files
    from iqa_adapter.iqa_models.features import load_features
    from iqa_adapter.quickstart.model import load_quickstart, make_unet
    from iqa_adapter.quickstart.weights_file import read_weights
    from iqa_adapter.training.settings import TrainingSettings
    from iqa_adapter.training.state import TrainingState
    from iqa_adapter.training.trainable import TrainableAdapter

    bare = Metadata(metrics=tuple(METADATA["metrics"]))
    settings, unet = TrainingSettings(), make_unet().diffusion_model

    def resume(path: Path) -> None:
        run = TrainingState(TrainableAdapter.from_unet(unet, 1, settings), settings, 4)
        run.resume(folder_of(path, "checkpoint.pt"))

    readers = {
        "adapter": lambda path: load_adapter(path, bare),
        "weights": lambda path: weight_files.state_dict(weight_files.read(path), path),
        "features": load_features,
        "quickstart": lambda path: load_quickstart(folder_of(path, "base.safetensors")),
        "quickstart_weights": read_weights,
        "resume": resume,
    }
    for path in sorted(folder.iterdir()):
        if path.is_file():
            wanted = ["adapter"] if path.name.startswith(("adapter_", "metadata_")) else list(readers)
            for name in wanted:
                print(json.dumps({"file": path.name, "reader": name} | outcome(readers[name], path)), flush=True)
    good = folder / "good.pth"
    torch.save({"a": torch.ones(3)}, good)
    assert torch.load(good, weights_only=True)["a"].sum() == 3  # torch is as it was
    print(json.dumps({"file": "", "reader": "torch"}))


def folder_of(path: Path, name: str) -> Path:
    """A folder in which the file has another name."""
    folder = path.parent / "as" / path.name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).unlink(missing_ok=True)
    (folder / name).hardlink_to(path)
    return folder


def outcome(reader, path: Path) -> dict:
    Path("/proc/self/clear_refs").write_text("5")  # forgets the peak so far
    before, began = memory("VmHWM"), time.process_time()
    room = 2 * path.stat().st_size + 64 * MB
    resource.setrlimit(resource.RLIMIT_AS, (memory("VmSize") + 2 * room, resource.RLIM_INFINITY))
    try:
        reader(path)
        kind, message = "", ""
    except Exception as error:
        kind = next((base for base in ("ValueError", "OSError") if isinstance(error, eval(base))), repr(type(error)))
        message = str(error)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    taken = memory("VmHWM") - before
    return {"kind": kind, "message": message, "taken": taken, "room": room, "seconds": time.process_time() - began}


def memory(field: str) -> int:
    """Bytes, from /proc."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line.split()[1] for line in lines if line.startswith(field)))


if __name__ == "__main__":
    read_all(Path(sys.argv[1]))
