"""Workflows run with the quickstart in place of checkpoint, adapter and IQA models, and measures of their pictures."""

import io
import json
from functools import cache

import numpy as np
import torch
from PIL import Image

from comfyui_runtime import ROOT
from iqa_adapter.documentation.with_quickstart import with_quickstart
from iqa_adapter.documentation.workflow_files import described
from iqa_adapter.iqa_models.loading import load_iqa_model
from iqa_adapter.iqa_models.scoring import score_images

FOLDER = ROOT / "workflows"


class Run:
    """A workflow's graph and what its run gave."""

    def __init__(self, server, graph: dict):
        self.server, self.graph = server, graph
        self.numbers = {node["_meta"]["title"]: number for number, node in graph.items()}
        self.outputs = server.outputs_of(graph, timeout=1200)

    def result(self, title: str, key: str):
        return self.outputs[self.numbers[title]][key]

    def pictures(self, title: str, key: str = "images") -> torch.Tensor:
        """``[N, H, W, 3]`` in 0…1."""
        read = []
        for each in self.result(title, key):
            picture = Image.open(io.BytesIO(self.server.picture(each))).convert("RGB")
            read.append(torch.from_numpy(np.asarray(picture, np.float32) / 255))
        return torch.stack(read)


def graph_of(name: str) -> dict:
    workflow = described(name)
    return with_quickstart(saved_graph(name), workflow.quickstart, workflow.blurred_below)


def saved_graph(name: str) -> dict:
    return json.loads((FOLDER / "api" / f"{name}.json").read_text())


def changed(graph: dict, **changes) -> dict:
    """The graph with further inputs: ``Node_title={"input": value}``, spaces of the title as underscores."""
    titles = {node["_meta"]["title"].replace(" ", "_"): node for node in graph.values()}
    for title, inputs in changes.items():
        titles[title]["inputs"].update(inputs)
    return graph


@cache
def run(server, name: str) -> Run:
    return Run(server, graph_of(name))


def quality(pictures: torch.Tensor) -> list[float]:
    return score_images([load_iqa_model("quickstart_iqa")], pictures).values[:, 0].tolist()


def roughness(pictures: torch.Tensor) -> torch.Tensor:
    """Mean difference of neighbouring pixels, of each of ``[..., H, W, 3]``: noise raises it, blur lowers it."""
    return pictures.diff(dim=-3).abs().mean((-3, -2, -1)) + pictures.diff(dim=-2).abs().mean((-3, -2, -1))
