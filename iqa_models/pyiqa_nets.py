"""pyiqa's architectures, built by pyiqa's own constructors, but offline and with every weight file read safely.

pyiqa's constructors download and unpickle as they go, and most first fetch an ImageNet backbone that their own weights
then overwrite. Here each way in which they reach for a file is answered by us: files that the metric's catalogue entry
names are read (:mod:`.weights`), backbones are left as initialised, and nothing is ever fetched. What a metric computes
stays pyiqa's own code.

No module of pyiqa or PyTorch is altered for that, since other threads may be using it. A constructor is a function that
finds `torch.load` and the like among the names of its module; it is called as a copy that finds ours instead.
"""

from __future__ import annotations

import importlib.metadata
import sys
import tempfile
import types
from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import unquote, urlparse

import torch
import torchvision
from torch import nn

from ..optional import needed
from . import weights
from .architectures import import_architecture, importing_pyiqa
from .catalogue import Entry, NotInstalled
from .matlab import read_matlab

with needed("scipy"):
    import scipy.io
with importing_pyiqa():
    import pyiqa.archs
    import pyiqa.archs.arch_util
    import pyiqa.archs.clip_model
    import pyiqa.utils.download_util
    from pyiqa.default_model_configs import DEFAULT_CONFIGS

# embed_dim, image_resolution, vision_layers, vision_width, vision_patch_size, context_length, vocab_size,
# transformer_width, transformer_heads, transformer_layers of OpenAI's CLIP (arXiv 2103.00020, tables 19 and 20)
CLIP_SHAPES = {
    "RN50": (1024, 224, (3, 4, 6, 3), 64, None, 77, 49408, 512, 8, 12),
    "ViT-B/32": (512, 224, 12, 768, 32, 77, 49408, 512, 8, 12),
    "ViT-L/14": (768, 224, 24, 1024, 14, 77, 49408, 768, 12, 12),
}
BACKBONES = ("resnet18", "resnet34", "resnet50", "vgg16")


def build(entry: Entry, files: Mapping[str, Path]) -> nn.Module:
    """The architecture of a metric of pyiqa; see :func:`.construction.build`.

    Raises:
        NotInstalled: the installed pyiqa has no such metric.
        WrongFile: a file is damaged or unsafe.
        RuntimeError, KeyError, ...: a file holds other weights.
    """
    if entry.name not in DEFAULT_CONFIGS:
        installed = importlib.metadata.version("pyiqa")
        raise NotInstalled(f"{entry.name} is not in the installed pyiqa {installed}; it came with pyiqa {entry.since}.")
    options = dict(DEFAULT_CONFIGS[entry.name]["metric_opts"])
    name = options.pop("type")
    import_architecture(name)
    architecture = pyiqa.archs.ARCH_REGISTRY.get(name)
    with tempfile.TemporaryDirectory() as folder:
        offline = _Offline(_Files(files), folder)
        net = offline(architecture)(**options)
    offline.leave(net)
    if isinstance(getattr(net, "clip_model", None), list):  # pyiqa hides CLIP from its own checkpoints in a list
        net.clip_model = nn.ModuleList(net.clip_model)  # but it must move between devices with the rest
    return net


class _Files:
    """Answers for pyiqa's ways of reaching files, by the file name at the end of an URL or path."""

    def __init__(self, paths: Mapping[str, Path]):
        self.paths = {**paths, **{path.name: path for path in paths.values()}}  # .safetensors has another name

    def path(self, url: str, *_, **__) -> str:
        """In place of ``load_file_from_url``: where the file is; its bare name where it is not wanted."""
        name = _file_name(url)
        return str(self.paths.get(name, name))

    def content(self, url: str, *_, **__) -> object:
        """In place of ``torch.load``."""
        return weights.read(Path(self.path(url)))

    def from_hub(self, url: str, *_, **__) -> object:
        """In place of ``torch.hub.load_state_dict_from_url``, with which pyiqa 0.1.15 loads ARNIQA's regressor, too."""
        return self.regressor(url) if _file_name(url).startswith("regressor") else self.content(url)

    def into(self, net: nn.Module, url: str, *_, **__) -> None:
        """In place of ``load_pretrained_network``; files that are not wanted would be overwritten and are left out."""
        if _file_name(url) in self.paths:
            path = self.path(url)
            net.load_state_dict(weights.state_dict(self.content(path), path))

    def regressor(self, path: str, *_, **__) -> nn.Linear:
        """In place of ``torch.jit.load``, with which ARNIQA loads a ridge regressor: w x + b."""
        tensors = self.content(path)
        weight, bias = tensors["weights"].float().reshape(1, -1), tensors["biases"].float().reshape(1)
        linear = nn.Linear(weight.shape[1], 1)
        linear.load_state_dict({"weight": weight, "bias": bias})
        return linear

    def clip(self, architecture: type[nn.Module], name: str) -> nn.Module:
        """In place of CLIP's ``load``, in float32."""
        model = architecture(*CLIP_SHAPES[name]).eval()
        path = self.paths.get(f"{name.replace('/', '-')}.pt")
        if path is not None:
            content = weights.state_dict(self.content(str(path)), path)
            expected = model.state_dict()
            model.load_state_dict({key: value for key, value in content.items() if key in expected})
        return model


def _file_name(url: str) -> str:
    return unquote(Path(urlparse(str(url)).path).name)


class _View(types.ModuleType):
    """A module with some of its attributes replaced; the module itself stays as it is."""

    def __init__(self, module: types.ModuleType, **replaced: object):
        super().__init__(module.__name__)
        vars(self).update(replaced, _module=module)

    def __getattr__(self, name: str) -> object:
        return getattr(self._module, name)


class _Offline:
    """Subclasses of pyiqa's modules whose methods are the same, but see our answers in place of what reaches for files.

    Args:
        files: gives the answers.
        folder: in place of pyiqa's cache.
    """

    def __init__(self, files: _Files, folder: str):
        self._substitutes, self._folder = _substitutes(files), folder
        self._made: dict[type[nn.Module], type[nn.Module]] = {}

    def __call__(self, cls: type[nn.Module]) -> type[nn.Module]:
        """The subclass of a module's class; the same one at every call."""
        if cls not in self._made:
            made = self._made[cls] = type(cls.__name__, (cls,), {"load_state_dict": _complete(cls.load_state_dict)})
            module = vars(sys.modules[cls.__module__])
            names = self._names(module) | {cls.__name__: cls}  # itself, of which it calls super()
            for name, value in vars(cls).items():
                if getattr(value, "__globals__", None) is module:
                    setattr(made, name, _with_names(value, names))
        return self._made[cls]

    def leave(self, net: nn.Module) -> None:
        """Give a net and its parts their own classes back, in place."""
        own = {made: cls for cls, made in self._made.items()}
        for part in net.modules():
            part.__class__ = own.get(type(part), type(part))

    def _names(self, module: dict) -> dict:
        """The names that a module's functions see, with the substitutes."""
        names = {name: self._substitute(value) for name, value in module.items()}
        if "create_swin" in names:
            names["create_swin"] = _without_weights(names["create_swin"])
        if "DEFAULT_CACHE_DIR" in names:  # LIQE keeps there what it derived from other weights
            names["DEFAULT_CACHE_DIR"] = self._folder
        return names

    def _substitute(self, value: object) -> object:
        if isinstance(value, type) and issubclass(value, nn.Module) and value.__module__.startswith("pyiqa."):
            return self(value)
        return next((ours for theirs, ours in self._substitutes if value is theirs), value)


def _substitutes(files: _Files) -> list[tuple[object, object]]:
    """What is replaced, whatever a module of pyiqa calls it, and by what."""
    backbones = {name: _without_weights(getattr(torchvision.models, name)) for name in BACKBONES}
    models = _View(torchvision.models, **backbones)
    hub = _View(torch.hub, load_state_dict_from_url=files.from_hub)
    substitutes = [
        (torch, _View(torch, load=files.content, hub=hub, jit=_View(torch.jit, load=files.regressor))),
        (scipy, _View(scipy, io=_View(scipy.io, loadmat=read_matlab))),
        (torchvision.models, models),
        (torchvision, _View(torchvision, models=models)),
        (torch.hub.load_state_dict_from_url, files.from_hub),
        (pyiqa.utils.download_util.load_file_from_url, files.path),
        (pyiqa.archs.arch_util.load_pretrained_network, files.into),
        (pyiqa.archs.clip_model.load, lambda name, *_, **__: files.clip(pyiqa.archs.clip_model.CLIP, name)),
    ]
    if timm := sys.modules.get("timm"):  # imported by the architectures that need them
        substitutes.append((timm, _View(timm, create_model=_without_weights(timm.create_model))))
    if clip := sys.modules.get("clip"):
        load = lambda name, *_, **__: (files.clip(clip.model.CLIP, name), None)  # noqa: E731
        substitutes.append((clip, _View(clip, load=load)))
    return substitutes


def _with_names(function: types.FunctionType, names: dict) -> types.FunctionType:
    copy = types.FunctionType(function.__code__, names, function.__name__, function.__defaults__, function.__closure__)
    copy.__kwdefaults__ = function.__kwdefaults__
    return copy


def _without_weights(constructor: Callable[..., nn.Module]) -> Callable[..., nn.Module]:
    """The same architecture as initialised, whatever weights were asked for."""

    def construct(*arguments, weights=None, pretrained=False, **options) -> nn.Module:
        return constructor(*arguments, **options)

    return construct


def _complete(load: Callable) -> Callable:
    """``load_state_dict`` that never leaves a tensor unset, not even with ``strict=False``."""

    def load_state_dict(self: nn.Module, state: Mapping, strict: bool = True, **options):
        result = load(self, state, strict=strict, **options)
        if result.missing_keys:
            raise RuntimeError(f"{len(result.missing_keys)} tensors are missing, {result.missing_keys[0]} among them.")
        return result

    return load_state_dict
