"""Modulated deformable RoI pooling: a graph of its own in MXNet, start, shapes, and what is refused."""

import pytest
import torch
from tolerances import FLOAT64_SAME_FUNCTION

from dcn_tasks.config import load_config
from dcn_tasks.errors import InputError
from dcn_tasks.network import NetworkSpec
from torch_port.layers import ModulatedDeformRoIPool
from torch_port.models import build_network

ROIS = torch.tensor([[0, 3.0, 2, 60, 70], [0, 20, 31, 24, 38], [0, 0, 0, 79, 63]], dtype=torch.float64)


def layer(**arguments):
    return ModulatedDeformRoIPool(4, fc_width=6, pooled_size=3, **arguments).double()


def test_new_layer_halves_the_bins_at_rest():
    """Zero guides: no offsets, masks sigmoid(0) = 1/2, unlike the convolution's 2 * sigmoid(0) = 1."""
    pool, maps = layer(), torch.randn(1, 4, 6, 7, dtype=torch.float64)
    expected = 0.5 * pool.rest_pool(maps, ROIS)
    torch.testing.assert_close(pool(maps, ROIS), expected, rtol=FLOAT64_SAME_FUNCTION, atol=FLOAT64_SAME_FUNCTION)


def test_guides_are_offsets_x_then_y_and_then_masks():
    pool, maps = layer(), torch.randn(1, 4, 6, 7, dtype=torch.float64)
    with torch.no_grad():
        pool.guide.bias[:9] = 0.7  # x
        pool.guide.bias[18:] = 3.0
    offset = torch.zeros(3, 2, 3, 3, dtype=torch.float64)
    offset[:, 0] = 0.7
    mask = 1 / (1 + torch.exp(torch.tensor(-3.0, dtype=torch.float64)))
    expected = mask * pool.pool(maps, ROIS, offset)
    assert not torch.allclose(expected, mask * pool.rest_pool(maps, ROIS))
    torch.testing.assert_close(pool(maps, ROIS), expected, rtol=FLOAT64_SAME_FUNCTION, atol=FLOAT64_SAME_FUNCTION)


def test_no_rois_give_no_rows_and_every_parameter_learns():
    pool, maps = layer(), torch.randn(1, 4, 6, 7, dtype=torch.float64)
    torch.nn.init.normal_(pool.guide.weight, std=0.3)
    assert pool(maps, ROIS[:0]).shape == (0, 4, 3, 3)
    pool(maps, ROIS).square().sum().backward()
    assert all(parameter.grad.any() for parameter in pool.parameters())


def test_networks_start_with_zero_guides():
    network = build_network(load_config("demo/narrow_rcnn_dcnv2"))
    assert isinstance(network.head.pool, ModulatedDeformRoIPool)
    assert not network.head.pool.guide.weight.any()
    assert network.head.pool.fc1.weight.any()


@pytest.mark.parametrize("config", ["demo/narrow_rfcn_dcn", "demo/narrow_rcnn"])
def test_other_roi_poolings_are_refused_masks(config):
    with pytest.raises(InputError, match="MODULATED_ROI_POOLING: expected deformable RoI pooling of Faster R-CNN"):
        NetworkSpec.from_config(load_config(config, network__MODULATED_ROI_POOLING=True))
