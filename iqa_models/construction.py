"""pyiqa's architectures, built by pyiqa itself, but offline and with every weight file read safely.

pyiqa's constructors download and unpickle as they go, and most first fetch an ImageNet backbone that their own weights
then overwrite. While one constructor runs, each way in which it reaches for a file is answered by us: files
that the metric's catalogue entry names are read (:mod:`.weights`), backbones are left as initialised, and nothing is
ever fetched. What a metric computes stays pyiqa's own code.
"""

from __future__ import annotations

import contextlib
import functools
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from threading import Lock
from urllib.parse import unquote, urlparse

import torch
import torchvision
from torch import nn

from . import catalogue, taps, weights
from .architectures import import_architecture, importing_pyiqa

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
_one_at_a_time = Lock()


def build(metric: str, files: Mapping[str, Path], tap: str = "") -> nn.Module:
    """The architecture of a metric in evaluation mode, in float32 on the CPU, without gradients of its weights.

    Args:
        metric: pyiqa's name.
        files: where the metric's weight files are, by file name. What is not named keeps its initial weights.
        tap: feature layer that hooks shall reach (see :mod:`.taps`).

    Raises:
        ValueError: a file is damaged, unsafe, or does not hold exactly what the architecture needs.
    """
    options = _options(metric, files)
    architecture = options["type"]
    # a graph runs in inference mode, whose tensors (pyiqa keeps some that are no parameters) allow no gradient guidance
    with _one_at_a_time, torch.random.fork_rng(devices=[]), torch.inference_mode(False), torch.no_grad():
        import_architecture(architecture)  # its module must exist before it can be redirected
        with _redirected(_Files(files)):
            try:
                net = pyiqa.archs.build_network(options)
            except (RuntimeError, KeyError) as error:
                if not files:
                    raise
                names = ", ".join(str(path) for path in files.values())
                reason = str(error).splitlines()[-1].strip()
                raise ValueError(f"{names} does not hold the weights of {metric}: {reason}") from error
    if isinstance(getattr(net, "clip_model", None), list):  # pyiqa hides CLIP from its own checkpoints in a list
        net.clip_model = nn.ModuleList(net.clip_model)  # but it must move between devices with the rest
    taps.add_tap(net, tap)
    return net.eval().requires_grad_(False)


def _options(metric: str, files: Mapping[str, Path]) -> dict:
    """Arguments of the architecture; the quickstart's is a NIMA with one score on timm's smallest EfficientNet."""
    if metric != catalogue.QUICKSTART:
        return dict(DEFAULT_CONFIGS[metric]["metric_opts"])
    path = next((path.name for path in files.values()), None)
    small = {"base_model_name": "test_efficientnet", "num_classes": 1, "pretrained": False}
    return {"type": "NIMA", "pretrained_model_path": path, **small}


class _Files:
    """Answers for pyiqa's ways of reaching files, by the file name at the end of an URL or path."""

    def __init__(self, paths: Mapping[str, Path]):
        self.paths = {**paths, **{path.name: path for path in paths.values()}}  # .safetensors has another name

    def path(self, url: str, *_, **__) -> str:
        """In place of ``load_file_from_url``: where the file is; its bare name where it is not wanted."""
        name = _file_name(url)
        return str(self.paths.get(name, name))

    def content(self, url: str, *_, **__) -> object:
        """In place of ``torch.load`` and ``load_state_dict_from_url``."""
        return weights.read(Path(self.path(url)))

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

    def clip(self, architecture: type[nn.Module], name: str, *_, **__) -> nn.Module:
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


@contextlib.contextmanager
def _redirected(files: _Files) -> Iterator[None]:
    pyiqa_modules = [module for name, module in list(sys.modules.items()) if name.startswith("pyiqa.")]
    with contextlib.ExitStack() as stack:

        def replace(owner: object, name: str, substitute: object) -> None:
            stack.callback(setattr, owner, name, getattr(owner, name))
            setattr(owner, name, substitute)

        by_name = [  # pyiqa's modules import these functions by name
            (pyiqa.utils.download_util.load_file_from_url, files.path),
            (pyiqa.archs.arch_util.load_pretrained_network, files.into),
            (pyiqa.archs.clip_model.load, functools.partial(files.clip, pyiqa.archs.clip_model.CLIP)),
        ]
        for original, substitute in by_name:
            for module in pyiqa_modules:
                for name in [name for name, value in vars(module).items() if value is original]:
                    replace(module, name, substitute)
        for module in pyiqa_modules:
            if hasattr(module, "create_swin"):
                replace(module, "create_swin", _without_weights(module.create_swin))
            if hasattr(module, "DEFAULT_CACHE_DIR"):  # LIQE keeps there what it derived from other weights
                replace(module, "DEFAULT_CACHE_DIR", stack.enter_context(tempfile.TemporaryDirectory()))
        if clip := sys.modules.get("clip"):  # imported by the architectures that need them
            replace(clip, "load", lambda name, *_, **__: (files.clip(clip.model.CLIP, name), None))
        if timm := sys.modules.get("timm"):
            replace(timm, "create_model", _without_weights(timm.create_model))
        for name in ("resnet18", "resnet34", "resnet50", "vgg16"):
            replace(torchvision.models, name, _without_weights(getattr(torchvision.models, name)))
        replace(torch, "load", files.content)
        replace(torch.hub, "load_state_dict_from_url", files.content)
        replace(torch.jit, "load", files.regressor)
        replace(nn.Module, "load_state_dict", _complete(nn.Module.load_state_dict))
        yield


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
