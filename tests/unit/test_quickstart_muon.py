"""Our Muon takes the steps of torch's, which knows bfloat16 only."""

import pytest
import torch

from iqa_adapter.quickstart.making import muon


@pytest.mark.parametrize("shape", [(48, 96), (96, 48), (64, 64)])
def test_singular_values_become_about_one(shape):
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    u, _, v = torch.linalg.svd(matrix, full_matrices=False)
    diagonal = u.T @ muon.orthogonalize(matrix[None])[0] @ v.T
    assert diagonal.diagonal().min() > 0.5
    assert diagonal.diagonal().max() < 1.3
    assert (diagonal - diagonal.diagonal().diag()).abs().max() < 1e-4


def test_steps_are_those_of_torch():
    generator = torch.Generator().manual_seed(2)
    ours = torch.nn.Parameter(torch.randn(32, 80, generator=generator))
    begin = ours.detach().clone()
    theirs = torch.nn.Parameter(begin.clone())
    optimizers = [
        muon.Muon([ours], lr=1e-2),
        torch.optim.Muon([theirs], lr=1e-2, weight_decay=0.01, adjust_lr_fn="match_rms_adamw"),
    ]
    for _ in range(4):
        ours.grad = torch.randn(ours.shape, generator=generator)
        theirs.grad = ours.grad.clone()
        for optimizer in optimizers:
            optimizer.step()
    assert (ours - begin).norm() > 0.1
    assert (ours - theirs).norm() < 0.02 * (ours - begin).norm()  # bfloat16 has 8 bits
