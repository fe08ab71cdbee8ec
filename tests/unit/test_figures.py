"""Sheets, stacks, PNG files and the plot of losses: what stands where, and in which size."""

import numpy as np
import pytest
import torch
from PIL import Image

from iqa_adapter.figures import curve, grid


def flat(values, height=2, width=3):
    """Pictures ``[N, height, width, 3]`` of one grey level each."""
    return torch.tensor(values).view(-1, 1, 1, 1).expand(-1, height, width, 3)


def test_sheet_goes_row_by_row_without_margins():
    sheet = grid.sheet(flat([0.0, 0.2, 0.4, 0.6, 0.8, 1.0]), columns=3, zoom=2)
    assert sheet.shape == (1, 8, 18, 3)
    assert torch.equal(sheet[0, ::4, ::6, 0], torch.tensor([[0.0, 0.2, 0.4], [0.6, 0.8, 1.0]]))
    assert torch.equal(sheet[0, 0:4, 6:12], flat([0.2], 4, 6)[0])


def test_sheet_of_a_row_that_is_not_full_is_refused():
    with pytest.raises(RuntimeError):
        grid.sheet(flat([0.0, 0.2, 0.4]), columns=2)


def test_stack_keeps_sizes_and_fills_with_white():
    narrow, wide = torch.zeros(1, 2, 3, 3), torch.full((1, 4, 5, 3), 0.5)
    stacked = grid.stacked([narrow, wide])
    assert stacked.shape == (1, 6, 5, 3)
    assert torch.equal(stacked[:, :2, :3], narrow) and torch.equal(stacked[:, 2:], wide)
    assert (stacked[:, :2, 3:] == 1).all()


def test_png_holds_the_rounded_pixels_and_replaces_the_old_file(tmp_path):
    file = tmp_path / "new" / "picture.png"
    grid.write_png(file, torch.zeros(1, 4, 4, 3))
    image = torch.rand(1, 5, 7, 3, generator=torch.Generator().manual_seed(0)) * 1.2 - 0.1
    grid.write_png(file, image)
    expected = (image[0].clamp(0, 1) * 255).round().byte().numpy()
    assert np.array_equal(np.asarray(Image.open(file)), expected)
    assert [path.name for path in file.parent.iterdir()] == ["picture.png"]


def test_smoothed_losses_are_means_of_the_last_ones():
    losses = [float(n) for n in range(40)]  # 5 % are two steps
    assert curve.smoothed(losses).tolist() == pytest.approx([0.0] + [n - 0.5 for n in range(1, 40)])
    assert curve.smoothed([3.0]).tolist() == [3.0]


def test_plot_of_losses_shows_them():
    one, other = (curve.plot_losses(range(20), [level] * 10 + [2.0] * 10, "run") for level in (1.0, 1.5))
    assert one.shape == (1, 440, 640, 3) and one.min() >= 0 and one.max() == 1
    assert not torch.equal(one, other)
