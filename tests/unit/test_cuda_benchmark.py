"""The parts of the GPU benchmark that a CPU can run."""

import sys

import pytest
import torch

from benchmarks import cuda, cuda_parts


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_says_what_it_needs(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["benchmarks.cuda"])
    with pytest.raises(SystemExit, match="needs a GPU of CUDA or ROCm"):
        cuda.main()


def test_parity_compares_equal_weights(monkeypatch):
    kinds = {name: cuda_parts.KINDS[name] for name in ("float32", "fp8 in bfloat16")}
    monkeypatch.setattr(cuda_parts, "KINDS", kinds)
    found = cuda_parts.parity()
    assert found["float32"]["adapter"] < 1e-4 < found["float32"]["effect"]
    for errors in found.values():
        assert max(errors["adapter"], errors["with mask"]) <= max(2 * errors["unpatched"], 2e-5)
