"""The Faster R-CNN head: what it pools, flattens, un-normalises and replays."""

import math

import numpy as np
import pytest
import torch
from tolerances import FLOAT64_SAME_FUNCTION, STANDARD_ERRORS

from dcn_tasks.config import load_config
from torch_port.layers import FullyConnected, RoIPool
from torch_port.models import FasterRCNN, build_network, recording, replaying
from torch_port.models.heads import RCNNHead
from torch_port.training import parameter_groups

ROIS = torch.tensor([[0.0, 5, 6, 70, 80], [0, 20, 10, 60, 90]], dtype=torch.float64)


def head(deformable: bool = False) -> RCNNHead:
    torch.manual_seed(0)
    settings = {"width": 4, "fc_width": 6, "num_classes": 3, "num_box_classes": 3, "pooled_size": 3}
    return RCNNHead(8, deformable=deformable, **settings).double()


def features() -> torch.Tensor:
    return torch.randn(1, 8, 6, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def test_a_fully_connected_layer_reads_channels_then_rows_then_columns():
    """2 channels of 1 x 2: the third of the four inputs is channel 1, column 0."""
    layer = FullyConnected(4, 1)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[0.0, 0, 1, 0]]))
        layer.bias.zero_()
    maps = torch.arange(4.0).view(1, 2, 1, 2)
    assert layer(maps).item() == 2
    assert layer(maps.to(memory_format=torch.channels_last)).item() == 2


@pytest.mark.parametrize("deformable", [False, True])
def test_unnormalised_head_predicts_deltas_times_stds_plus_means(deformable):
    means, stds = (0.1, -0.2, 0.3, 0.4), (0.1, 0.2, 0.3, 0.4)
    network = head(deformable)
    with torch.no_grad():
        before = network(features(), ROIS)[1].numpy()
        network.unnormalise_boxes(means, stds)
        after = network(features(), ROIS)[1].numpy()
    np.testing.assert_allclose(after, before * np.tile(stds, 3) + np.tile(means, 3), rtol=FLOAT64_SAME_FUNCTION)


def test_zero_offsets_pool_what_the_bins_at_rest_pool():
    network = head(deformable=True)
    with torch.no_grad():
        network.offset.weight.zero_()
        network.offset.bias.zero_()
    pooled = {}
    for name in ("offset_pool", "pool"):
        getattr(network, name).register_forward_hook(lambda m, args, out, name=name: pooled.update({name: out}))
    network(features(), ROIS)
    assert torch.equal(pooled["pool"], pooled["offset_pool"])


def test_an_offset_of_one_moves_bins_right_by_a_tenth_of_the_roi():
    """The first half of `offset` is x: a map that grows by 1 per column grows by a tenth of the RoI's width."""
    network = head(deformable=True)
    ramp = torch.arange(40.0, dtype=torch.float64).expand(1, 4, 40, 40).contiguous()
    rois = torch.tensor([[0.0, 160, 160, 319, 319]], dtype=torch.float64)  # 10 cells
    offset = torch.zeros(1, 2, 3, 3, dtype=torch.float64)
    at_rest = network.pool(ramp, rois, offset)
    offset[:, 0] = 1
    torch.testing.assert_close(network.pool(ramp, rois, offset), at_rest + 1)
    offset[:, 0], offset[:, 1] = 0, 1
    torch.testing.assert_close(network.pool(ramp, rois, offset), at_rest)


def test_a_replayed_maximum_is_taken_and_counted():
    """One RoI of 2 x 2 cells, one bin: the maximum is 4 at index 3; recorded is index 1, value 2; -1 gives 0."""
    pool = torch.nn.Sequential(RoIPool(spatial_scale=1.0, pooled_size=1))
    maps = torch.tensor([[1.0, 2], [3, 4]])[None, None].requires_grad_()

    class Network(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.pool = pool[0]

        def forward(self):
            return self.pool(maps, torch.tensor([[0.0, 0, 0, 1, 1]]))

    network = Network()
    with recording(network) as own:
        assert network().item() == 4
    assert own["pool"].tolist() == [[[[3]]]]
    with replaying(network, {"pool": np.array([[[[1]]]])}) as report:
        output = network()
    output.sum().backward()
    assert output.item() == 2
    assert maps.grad.flatten().tolist() == [0, 1, 0, 0]
    assert report.rows() == [("pool", 1, 1)]
    with replaying(network, {"pool": np.array([[[[-1]]]])}):
        assert network().item() == 0


def test_initial_weights_and_rates_are_the_originals():
    torch.manual_seed(0)
    network = build_network(load_config("demo/narrow_rcnn_dcn"))
    assert isinstance(network, FasterRCNN)
    for name, tensor in network.state_dict().items():
        if "offset" in name or name.endswith("bias"):
            assert not tensor.any(), name
        elif name.startswith(("rpn.", "head.")):
            spread = STANDARD_ERRORS / math.sqrt(2 * tensor.numel())
            assert tensor.std().item() == pytest.approx(0.01, rel=spread), name
    rates = {group["name"]: group["lr_mult"] for group in parameter_groups(network, weight_decay=0.0)}
    assert {name: rate for name, rate in rates.items() if rate != 1} == {
        "head.offset.weight": 0.01,
        "head.offset.bias": 0.01,
    }


def test_autocast_pools_in_float32():
    network = head(deformable=True).float()
    seen = []
    for pool in (network.offset_pool, network.pool):
        pool.register_forward_pre_hook(lambda module, args: seen.extend(arg.dtype for arg in args))
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        network(features().float(), ROIS.float())
    assert set(seen) == {torch.float32}
