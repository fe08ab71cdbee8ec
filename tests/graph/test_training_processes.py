"""Several processes train as one with the joint batch."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import training_process

from iqa_adapter.adapter import checkpoint


def outcome(folder, processes):
    losses = [json.loads(line)["loss"] for line in (folder / "loss.jsonl").read_text().splitlines()]
    gradients = [torch.load(folder / f"gradients-{rank}.pt") for rank in range(processes)]
    return losses, gradients, checkpoint.load_adapter(folder / "adapter.safetensors")


def test_two_processes_equal_one_with_the_joint_batch(tmp_path):
    (tmp_path / "one").mkdir()
    training_process.gradients_and_run(tmp_path / "one", batch_size=8)
    one_losses, (joint,), one = outcome(tmp_path / "one", 1)

    (tmp_path / "two").mkdir()
    script = Path(training_process.__file__)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", str(script)]
    path = os.pathsep.join(filter(None, (str(script.parent), os.environ.get("PYTHONPATH"))))
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": path}
    done = subprocess.run([*command, str(tmp_path / "two"), "4"], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    two_losses, (first, second), two = outcome(tmp_path / "two", 2)

    for left, right, expected in zip(first, second, joint, strict=True):
        assert torch.equal(left, right)
        assert torch.allclose(left, expected, rtol=1e-4, atol=1e-5 * expected.abs().max().item())
    assert two_losses == pytest.approx(one_losses, rel=1e-4) and len(two_losses) == 3
    for left, right in zip(one.layers, two.layers, strict=True):
        assert torch.allclose(left.key, right.key, atol=1e-3) and torch.allclose(left.value, right.value, atol=1e-3)
