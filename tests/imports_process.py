"""ComfyUI with the pack where packages are not installed: what some nodes do there, as JSON lines.

Usage: ``imports_process.py PACKAGE,PACKAGE …``; one line per argument, ``none`` hides nothing, and ``PACKAGE:use,use``
tries other uses than the usual ones. ComfyUI is started once; every argument gets a fork of it, in which ComfyUI's own
loader loads the pack.
"""

import asyncio
import json
import os
import sys
import tempfile
from importlib import import_module
from importlib.machinery import PathFinder
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import comfyui_runtime

comfyui, arguments = comfyui_runtime.prepare()
sys.path.insert(0, str(comfyui))
comfyui_runtime._parse_arguments(arguments)

import_module("utils.extra_config")  # as main.py does, before ComfyUI's nodes put comfy/ on the path

import folder_paths
import nodes
import torch
from comfy.model_patcher import ModelPatcher
from PIL import Image


def hide(packages: set[str]) -> None:
    """As if they had never been installed, also where ComfyUI imported them."""

    class Rest(PathFinder):
        @classmethod
        def find_spec(cls, name, path=None, target=None):
            return None if name.partition(".")[0] in packages else PathFinder.find_spec(name, path, target)

    sys.meta_path[sys.meta_path.index(PathFinder)] = Rest
    for name in [name for name in sys.modules if name.partition(".")[0] in packages]:
        del sys.modules[name]


USUAL = ("adapter", "quickstart", "clean", "photo", "distorted", "piqe", "own", "scores", "curve", "table", "train")


class Brightness(torch.nn.Module):
    def forward(self, images):
        return images.mean((1, 2, 3))


class Uses:
    """One cheap run of nodes each."""

    def __init__(self):
        self.room = sys.modules[nodes.NODE_CLASS_MAPPINGS["IQAScoreImages"].__module__.removesuffix(".nodes.scoring")]
        self.images = torch.rand(2, 64, 64, 3, generator=torch.Generator().manual_seed(0))

    def brightness(self):
        """An IQA model without pyiqa."""
        loading = import_module(f"{self.room.__name__}.iqa_models.loading")
        entry = import_module(f"{self.room.__name__}.iqa_models.catalogue").find("piqe")
        return loading.IQAModel(entry, ModelPatcher(loading.ScoringModel(Brightness()), torch.device("cpu"), "cpu"))

    def adapter(self):
        adapter = run("IQAAdapterLoader", adapter_name="quickstart_score.safetensors")[0]
        return run("IQAQualitySweep", iqa_adapter=adapter, latent={"samples": torch.zeros(1, 4, 32, 32)})

    def quickstart(self):
        return run("IQAQuickstartModel", batch_size=1)

    def clean(self):
        return run("IQAQuickstartPicture", picture="scene", distortion="clean", severity=0.5, seed=0)

    def photo(self):
        return run("IQAQuickstartPicture", picture="cat", distortion="clean", severity=0.5, seed=0)

    def distorted(self):
        return run("IQAQuickstartPicture", picture="scene", distortion="gaussian_blur", severity=0.5, seed=0)

    def piqe(self):
        return run("IQAModelLoader", metric="piqe")

    def own(self):
        """Metrics that are not pyiqa's."""
        for metric in ("entropy", "colourfulness"):
            (model,) = run("IQAModelLoader", metric=metric)
            run("IQAScoreImages", iqa_model=model, images=self.images)

    def scores(self):
        return run("IQAScoreImages", iqa_model=self.brightness(), images=self.images)

    def curve(self):
        return run("IQAResponseCurve", iqa_scores=self.scores()[0], requested="1, 99")

    def table(self):
        with tempfile.TemporaryDirectory() as folder:
            Image.new("RGB", (64, 64), "teal").save(Path(folder, "a.png"))
            Path(folder, "a.txt").write_text("teal")
            table = {"kind": "scores", "protocol": "as is", "name": f"table-{os.getpid()}"}
            return run("IQAScoreDataset", pictures=folder, iqa_model=self.brightness(), **table)

    def topiq(self):
        self.import_architecture("CFANet")

    def clipiqa(self):
        self.import_architecture("CLIPIQA")

    def import_architecture(self, name):
        import_module(f"{self.room.__name__}.iqa_models.architectures").import_architecture(name)
        assert name in sys.modules["pyiqa.archs"].ARCH_REGISTRY

    def train(self):  # gets as far as its first check
        return run("IQAAdapterTrain", **dict.fromkeys(["model", "clip", "vae", "initial"]), pictures="nowhere",
                   table="nowhere", name="imports", steps=1, batch_size=1, learning_rate=1e-4, resolution=64, seed=0,
                   sample_interval=0)  # fmt: skip


def run(node: str, **inputs):
    """Outputs of a node; inputs that are not given have their defaults."""
    node = nodes.NODE_CLASS_MAPPINGS[node]
    schema = node.GET_SCHEMA()
    defaults = {socket.id: socket.default for socket in schema.inputs if getattr(socket, "default", None) is not None}
    given = defaults | inputs
    if schema.is_input_list:
        given = {name: [value] for name, value in given.items()}
    with torch.inference_mode():
        return node.PREPARE_CLASS_CLONE(None).execute(**given).args


def outcome(use) -> str:
    try:
        use()
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "runs"


def report(packages: set[str], names: tuple[str, ...]) -> dict:
    hide(packages)
    before, there = set(nodes.NODE_CLASS_MAPPINGS), set(sys.modules)  # newer ComfyUI imports cv2 by itself
    loaded = asyncio.run(nodes.load_custom_node(str(comfyui_runtime.pack_folder())))
    own = sorted(set(nodes.NODE_CLASS_MAPPINGS) - before)
    imported = {name.partition(".")[0] for name in set(sys.modules) - there}
    uses = Uses()
    outcomes = {name: outcome(getattr(uses, name)) for name in names}
    return {"loaded": loaded, "nodes": own, "imported": sorted(imported), "outcomes": outcomes}


def in_a_fork(argument: str) -> None:
    sys.stdout.flush()
    if child := os.fork():
        os.waitpid(child, 0)
        return
    hidden, _, uses = argument.partition(":")
    print(json.dumps(report(set(hidden.split(",")), tuple(uses.split(",")) if uses else USUAL)), flush=True)
    os._exit(0)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as output:
        folder_paths.set_output_directory(output)
        for argument in sys.argv[1:]:
            in_a_fork(argument)
