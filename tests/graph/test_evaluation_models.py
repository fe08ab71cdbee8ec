"""Other base models and adapters from YAML alone, the plans of SDXL and SD1.5, and several processes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import evaluation_models
import pytest
import yaml
from evaluation_runs import PLAN, command, results

import comfyui_runtime
from iqa_adapter.adapter.metadata import Metadata
from iqa_adapter.evaluation.evaluate import estimated
from iqa_adapter.evaluation.plan import PLANS, read_plan
from iqa_adapter.iqa_models import catalogue
from iqa_adapter.quality.statistics import MetricStatistics

HERE = ["entropy", "colourfulness", "quickstart_iqa"]  # metrics that need no download
REFERENCE = Metadata(
    kind="reference",
    iqa_model="quickstart_iqa",
    layer="classifier.1",
    pooling="none",
    protocol="64",
    feature_mean=(0.0,) * 64,
    feature_std=(1.0,) * 64,
)


def own(name: str) -> MetricStatistics:
    entry = catalogue.find(name)
    return MetricStatistics(name, 0.5, 0.2, {1.0: 0.1, 50.0: 0.5, 99.0: 0.9}, aesthetic=entry.aesthetic)


def test_evaluation_of_another_base_model_and_adapter_runs_from_yaml_alone(tmp_path):
    unet = evaluation_models.sd15_checkpoint(tmp_path / "narrow.safetensors")
    metadata = Metadata(metrics=(own("quickstart_iqa"), own("colourfulness")))
    evaluation_models.adapter_file(tmp_path / "mine.safetensors", unet, metadata)
    (tmp_path / "prompts.txt").write_text("a cat\na dog on a very long road " + "and another road " * 40)
    plan = {
        "base": str(tmp_path / "narrow.safetensors"),
        "prompts": "prompts.txt",
        "seeds": 1,
        "adapters": {"mine": {"file": str(tmp_path / "mine.safetensors"), "strength": 3}},
        "metrics": HERE,
        "levels": [1, 99],
        "sampling": {"name": "euler", "scheduler": "normal", "steps": 1, "cfg": 2, "width": 64, "height": 64},
        "experiments": ["response", "gain", "content"],
    }
    assert command(tmp_path, plan) == 0
    numbers = results(tmp_path)["experiments"]["response"]["numbers"]
    assert numbers["mine/entropy/1 %"] != numbers["mine/entropy/99 %"] != numbers["mine/entropy/base"]
    assert "16×16 pixels" in (tmp_path / "reports" / "plan" / "README.md").read_text()


@pytest.mark.parametrize("name", ["sdxl", "sd15"])
def test_evaluation_plans_run_on_narrow_models(tmp_path, name):
    """The plan with a narrow model in the place of the checkpoint, tiny pictures and metrics that are here."""
    plan = yaml.safe_load((PLANS / f"{name}.yaml").read_text())
    embedded = evaluation_models.sdxl()
    for given in plan["adapters"].values():
        metrics = given.get("metrics", [])
        described = (
            None if metrics else REFERENCE if "reference" in given["file"] else Metadata(metrics=(own("entropy"),))
        )
        given["file"] = str(tmp_path / given["file"])
        unet = embedded[0].model.diffusion_model
        evaluation_models.adapter_file(Path(given["file"]), unet, described, len(metrics))
    file = PLANS / f"{name}.yaml"
    plan["prompts"] = str(PLANS / "prompts.txt")
    counted = tmp_path / "counted.yaml"
    counted.write_text(yaml.safe_dump(plan))
    told = " ".join(file.read_text().replace("\n#", "").split())
    assert estimated(counted, tmp_path / "count", {}) in told, f"{name}.yaml tells another estimate than --estimate"
    plan |= {"base": "narrow", "metrics": HERE, "resize": "", "prompt_count": 1, "seeds": 2, "levels": [1, 99]}
    plan["sampling"] |= {"steps": 1, "width": 64, "height": 64}
    for options in plan["experiments"].values():
        if options:
            options |= {key: value for key, value in (("prompts", 1), ("count", 4)) if key in options}
    plan["experiments"]["guidance"] = {"metric": "quickstart_iqa", "scales": [1, 2], "prompts": 1}
    plan["experiments"]["strength"]["strengths"] = [1, 2]
    plan["experiments"]["features"] = {"models": ["quickstart_iqa"], "side": 64, "patches": 1}
    if "transfer" in plan["experiments"]:
        plan["experiments"]["transfer"]["reads"] = "quickstart_iqa"
    assert command(tmp_path, plan, embedded={"narrow": lambda: embedded}) == 0
    assert set(results(tmp_path)["experiments"]) == set(read_plan(file).experiments)


def test_evaluation_by_two_processes_equals_one(tmp_path):
    assert command(tmp_path, PLAN, "one", work="work one") == 0
    (tmp_path / "two.yaml").write_text(yaml.safe_dump(PLAN))
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    words = ["--work", tmp_path / "work two", "--report", tmp_path / "reports" / "two"]
    done = subprocess.run(
        [*torchrun, "iqa.py", "evaluate", tmp_path / "two.yaml", *words],
        cwd=comfyui_runtime.ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    one, two = results(tmp_path, "one"), results(tmp_path, "two")
    for run in (one, two):
        run["made with"].pop("threads", None)
    assert json.dumps(one) == json.dumps(two)
    pictures = [{path.name for path in (tmp_path / name).rglob("*.png")} for name in ("work one", "work two")]
    assert pictures[0] == pictures[1]
    assert len(list((tmp_path / "work two" / "scores").glob("quickstart_iqa-*.jsonl"))) <= 2
