"""psroi_pool alone; what it shares with roi_pool is in test_roi_operators.py."""

import torch

from torch_port.ops.psroi_pool import psroi_pool


def test_bin_averages_the_cells_it_touches():
    grid = torch.arange(25.0).reshape(1, 1, 5, 5)
    rois = torch.tensor([[0.0, 1, 1, 3, 2]])  # columns 1..3, rows 1..2
    pooled = psroi_pool(grid, rois, spatial_scale=1.0, output_dim=1, pooled_size=1)
    assert pooled.item() == torch.tensor([6.0, 7, 8, 11, 12, 13]).mean()
