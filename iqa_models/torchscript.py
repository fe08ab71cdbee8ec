"""TorchScript archives -> their tensors. The program inside is never read, let alone run.

OpenAI's CLIP and ARNIQA's regressors are only published as TorchScript. Such an archive is a zip: ``data.pkl`` pickles
the module tree, ``data/N`` hold the tensors' bytes, ``code/`` the program. A pickle can call any function, so this
reader knows the few that a module tree needs and refuses every other.
"""

from __future__ import annotations

import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path

import torch
from torch import Tensor


def is_torchscript(path: Path) -> bool:
    """Whether the file is a zip with a TorchScript program in it."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.split("/", 1)[-1] == "constants.pkl" for name in archive.namelist())


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Every tensor of the module tree by its dotted path: parameters, buffers and plain tensor attributes.

    Raises:
        pickle.UnpicklingError: the tree wants something called that is not a tensor.
        KeyError, RuntimeError, zipfile.BadZipFile: the archive is incomplete.
    """
    with zipfile.ZipFile(path) as archive:
        root = next(name for name in archive.namelist() if name.endswith("data.pkl")).removesuffix("data.pkl")
        with archive.open(f"{root}data.pkl") as tree:
            module = _TreeReader(tree, archive, f"{root}data/").load()
    return dict(_tensors(module, ""))


class _Node:
    """A module or submodule; its attributes are what the pickle says."""


class _TreeReader(pickle.Unpickler):
    STORAGES = {
        "DoubleStorage": torch.float64,
        "FloatStorage": torch.float32,
        "HalfStorage": torch.float16,
        "BFloat16Storage": torch.bfloat16,
        "LongStorage": torch.int64,
        "IntStorage": torch.int32,
        "BoolStorage": torch.bool,
    }
    ALLOWED = {
        ("collections", "OrderedDict"): OrderedDict,
        ("torch._utils", "_rebuild_tensor_v2"): torch._utils._rebuild_tensor_v2,
        ("torch._utils", "_rebuild_parameter"): torch._utils._rebuild_parameter,
        ("torch.jit._pickle", "restore_type_tag"): lambda value, _: value,
        **{("torch.jit._pickle", f"build_{kind}list"): list for kind in ("int", "tensor", "double", "bool")},
    }

    def __init__(self, tree, archive: zipfile.ZipFile, folder: str):
        super().__init__(tree)
        self.archive, self.folder, self.storages = archive, folder, {}

    def find_class(self, module: str, name: str):
        if (module, name) in self.ALLOWED:
            return self.ALLOWED[module, name]
        if module.split(".")[0] == "__torch__":
            return type(name, (_Node,), {})
        if module == "torch" and name in self.STORAGES:
            return self.STORAGES[name]
        raise pickle.UnpicklingError(f"{module}.{name} has no place among tensors")

    def persistent_load(self, reference):
        _, dtype, key, _, _ = reference
        if key not in self.storages:
            content = bytearray(self.archive.read(self.folder + key))
            flat = torch.frombuffer(content, dtype=dtype) if content else torch.empty(0, dtype=dtype)
            self.storages[key] = torch.storage.TypedStorage(
                wrap_storage=flat.untyped_storage(), dtype=dtype, _internal=True
            )
        return self.storages[key]


def _tensors(node: _Node, prefix: str):
    for name, value in vars(node).items():
        if isinstance(value, Tensor):
            yield prefix + name, value.detach()
        elif isinstance(value, _Node):
            yield from _tensors(value, f"{prefix}{name}.")
