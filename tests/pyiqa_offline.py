"""pyiqa's own metrics, made by its own constructors and readers, with files of a folder instead of downloads."""

import sys
from pathlib import Path
from unittest.mock import patch
from urllib.parse import unquote, urlparse

import timm
import torch
import torchvision

from iqa_adapter.iqa_models.architectures import import_architecture, importing_pyiqa

with importing_pyiqa():
    import clip
    import pyiqa
    import pyiqa.archs.arch_util
    import pyiqa.archs.clip_model
    import pyiqa.utils.download_util
    from pyiqa.default_model_configs import DEFAULT_CONFIGS


def metric(name: str, folder: Path, cache: Path):
    """``pyiqa.create_metric`` on the CPU. Backbones are random: the metric's own weights overwrite them.

    Args:
        name: metric of pyiqa.
        folder: its weight files.
        cache: an empty folder for what pyiqa derives from them.
    """

    def path(url, *_, **__):
        return str(folder / unquote(Path(urlparse(url).path).name))

    def load_if_there(net, url, *arguments, **options):
        if Path(path(url)).exists():
            read_into(net, path(url), *arguments, **options)

    def from_hub(url, **_):
        if "regressor" in url:  # pyiqa 0.1.15 loads ARNIQA's TorchScript so
            return torch.jit.load(path(url))
        return torch.load(path(url), weights_only=True)

    read_into = pyiqa.archs.arch_util.load_pretrained_network
    import_architecture(DEFAULT_CONFIGS[name]["metric_opts"]["type"])
    substitutes = [
        (pyiqa.archs.clip_model, "_download", path),
        (clip.clip, "_download", path),
        (torch.hub, "load_state_dict_from_url", from_hub),
        (timm, "create_model", _random(timm.create_model)),
        *[(torchvision.models, net, _random(getattr(torchvision.models, net))) for net in _BACKBONES],
    ]
    by_name = {
        "load_file_from_url": path,
        "load_pretrained_network": load_if_there,
        "DEFAULT_CACHE_DIR": str(cache),
    }
    for module in [module for name, module in sys.modules.items() if name.startswith("pyiqa.")]:
        for attribute, substitute in by_name.items():
            if hasattr(module, attribute):
                substitutes.append((module, attribute, substitute))
        if hasattr(module, "create_swin"):
            substitutes.append((module, "create_swin", _random(module.create_swin)))
    patches = [patch.object(*substitute) for substitute in substitutes]
    for each in patches:
        each.start()
    try:
        return pyiqa.create_metric(name, device="cpu")
    finally:
        for each in patches:
            each.stop()


_BACKBONES = ("resnet18", "resnet34", "resnet50", "vgg16")


def _random(constructor):
    return lambda *arguments, weights=None, pretrained=False, **options: constructor(*arguments, **options)
