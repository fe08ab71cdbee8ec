"""Weight files of every supported IQA model, with seeded random numbers in the very formats that are published."""

from pathlib import Path

import numpy as np
import scipy.io
import torch
from pyiqa.archs import clip_model
from pyiqa.default_model_configs import DEFAULT_CONFIGS
from torch import nn

from iqa_adapter.iqa_models import catalogue, construction, pyiqa_nets

ONLY_WEIGHTS = {"pretrained", "train_dataset", "regressor_dataset", "model_name", "model_type"}  # options of pyiqa
UNWRAPPED = {"laion_aes", "maniqa", "musiq", "paq2piq", "tres", "unique", "uranker"}  # published without "params"


def families() -> list[list[str]]:
    """Supported metrics of pyiqa by architecture; those of a family differ in their weights only."""
    found = {}
    for name in catalogue.names():
        entry = catalogue.find(name)
        if entry.supported and not entry.module and name in DEFAULT_CONFIGS:
            options = DEFAULT_CONFIGS[name]["metric_opts"]
            key = tuple(sorted((option, str(value)) for option, value in options.items() if option not in ONLY_WEIGHTS))
            found.setdefault(key, []).append(name)
    return list(found.values())


def write_weights(metric: str, folder: Path, seed: int = 0) -> None:
    """Put the files that a metric needs into a folder."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        rng = np.random.default_rng(seed)
        for file in catalogue.find(metric).weights:
            _WRITERS.get(file.name.split("_")[0].split(".")[0], _state_dict)(metric, folder / file.name, rng)


def _state_dict(metric: str, path: Path, rng: np.random.Generator) -> None:
    net = construction.build(metric, {})
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):  # as after training: no two channels alike
            module.running_mean.normal_(std=0.1)
            module.running_var.uniform_(0.5, 1.5)
    state = {key: value for key, value in net.state_dict().items() if not key.startswith("clip_model.0.")}
    if metric == "laion_aes":
        state = {key.removeprefix("mlp."): value for key, value in state.items()}
    torch.save(state if metric.split("-")[0] in UNWRAPPED else {"params": state}, path)


def _clip(metric: str, path: Path, rng: np.random.Generator) -> None:
    write_clip(path.stem.replace("ViT-L-14", "ViT-L/14"), path)


def write_clip(name: str, path: Path) -> None:
    """A TorchScript archive in float16, with the integers that OpenAI's archives hold besides the weights."""
    state = clip_model.CLIP(*pyiqa_nets.CLIP_SHAPES[name]).half().state_dict()
    state |= {name: torch.tensor(224) for name in ("input_resolution", "context_length", "vocab_size")}
    write_torchscript(state, path)


def write_torchscript(state: dict[str, torch.Tensor], path: Path) -> None:
    """A TorchScript archive of a module tree with these parameters."""
    root = nn.Module()
    for key, value in state.items():
        *parents, name = key.split(".")
        module = root
        for parent in parents:
            if parent not in module._modules:
                module.add_module(parent, nn.Module())
            module = module._modules[parent]
        module.register_buffer(name, value)
    torch.jit.script(_Runnable(root)).inner.save(str(path))


class _Runnable(nn.Module):
    def __init__(self, inner: nn.Module):
        super().__init__()
        self.inner = inner

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


def _arniqa_encoder(metric: str, path: Path, rng: np.random.Generator) -> None:
    import torchvision

    encoder = nn.Sequential(*list(torchvision.models.resnet50().children())[:-1])
    state = {f"model.{key}": value for key, value in encoder.state_dict().items()}
    torch.save(state | {"projector.0.weight": torch.randn(2, 2)}, path)


def _arniqa_regressor(metric: str, path: Path, rng: np.random.Generator) -> None:
    torch.jit.script(_Regressor()).save(str(path))


class _Regressor(nn.Module):
    """What ARNIQA publishes: w x + b."""

    def __init__(self):
        super().__init__()
        self.weights, self.biases = nn.Parameter(torch.randn(1, 4096)), nn.Parameter(torch.tensor([50.0]))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x @ self.weights.T + self.biases


def _prompts(metric: str, path: Path, rng: np.random.Generator) -> None:
    torch.save(torch.randn(2, 16, 512) * 0.02, path)


def _qualiclip(metric: str, path: Path, rng: np.random.Generator) -> None:
    clip = clip_model.CLIP(*pyiqa_nets.CLIP_SHAPES["RN50"])
    features = nn.functional.normalize(torch.randn(14, 1024), dim=-1)
    state = {f"clip_model.{key}": value for key, value in clip.state_dict().items()}
    torch.save(state | {"prompts_features": features}, path)


def _qualiclip_plus(metric: str, path: Path, rng: np.random.Generator) -> None:
    """What is learned are the prompts; the embeddings around them are CLIP's."""
    shape = {"ctx": (14, 16, 512), "token_prefix": (14, 1, 512), "token_suffix": (14, 60, 512)}
    state = {f"prompt_learner.{name}": torch.randn(size) * 0.02 for name, size in shape.items()}
    torch.save({"params": state}, path)


def _metaiqa(metric: str, path: Path, rng: np.random.Generator) -> None:
    from pyiqa.archs.metaiqa_arch import MetaIQA

    state = MetaIQA(pretrained=False).state_dict()
    torch.save({key.replace("head.", "net."): value for key, value in state.items()}, path)


def _brisque(metric: str, path: Path, rng: np.random.Generator) -> None:
    coefficients, vectors = rng.normal(size=50), rng.uniform(-1, 1, size=(50, 36))
    if path.suffix == ".mat":  # its kernel is so narrow that only vectors like those of photos matter
        typical = np.array([2.4, 0.8, *[0.75, -0.01, 0.12, 0.11] * 4, 2.2, 0.65, *[0.77, 0.12, 0.03, 0.11] * 4])
        scipy.io.savemat(path, {"sv_coef": coefficients, "sv": typical + 0.1 * vectors})
    else:
        torch.save((torch.from_numpy(coefficients).float(), torch.from_numpy(vectors).float()), path)


def _niqe(metric: str, path: Path, rng: np.random.Generator) -> None:
    root = rng.normal(size=(36, 36))
    scipy.io.savemat(path, {"mu_prisparam": rng.normal(size=36), "cov_prisparam": root @ root.T})


def _ilniqe(metric: str, path: Path, rng: np.random.Generator) -> None:
    root, axes = rng.normal(size=(430, 430)), np.linalg.qr(rng.normal(size=(468, 430)))[0]
    cells = np.empty((1, 4), dtype=object)
    cells[0] = [rng.normal(size=430), root @ root.T, rng.normal(size=468), axes]
    scipy.io.savemat(path, {"templateModel": cells})


def _nrqm(metric: str, path: Path, rng: np.random.Generator) -> None:
    """Three forests of three trees with one decision each: node 1 leads to leaf 2 or 3."""
    forests = np.empty((1, 3), dtype=object)
    for number, threshold in enumerate((0.3, 2.3, 45)):  # near the first feature of photos
        names = ("left", "right", "depth", "leaves", "threshold", "prediction", "feature")
        nodes = [[2, 0, 0], [3, 0, 0], [0] * 3, [0] * 3, [threshold, 0, 0], rng.uniform(1, 9, size=3), [1, 1, 1]]
        forests[0, number] = {name: np.tile(np.array(n)[:, None], (1, 3)) for name, n in zip(names, nodes, strict=True)}
    scipy.io.savemat(path, {"model": {"linear": rng.uniform(0.1, 0.4, size=(4, 1)), "rf": forests}})


_WRITERS = {
    "RN50": _clip,
    "ViT-L-14": _clip,
    "ARNIQA": _arniqa_encoder,
    "regressor": _arniqa_regressor,
    "CLIP-IQA+": _prompts,
    "QualiCLIP": _qualiclip,
    "QualiCLIP+": _qualiclip_plus,
    "Metaiqa": _metaiqa,
    "brisque": _brisque,
    "niqe": _niqe,
    "ILNIQE": _ilniqe,
    "NRQM": _nrqm,
}
