"""Replayed decisions are taken, their gradients follow them, and what they changed is counted."""

import numpy as np
import pytest
import torch
from torch import nn

from dcn_tasks.errors import InputError
from dcn_tasks.streams import Draws
from torch_port.layers import CeilMaxPool, DeformConv2d, DeformPSRoIPool
from torch_port.models import recording, replaying
from torch_port.models.positions import conv_positions, pool_positions


def grid(*rows):
    return torch.tensor([[list(map(float, row)) for row in rows]], dtype=torch.float64)[None].requires_grad_()


def test_flipped_relu_lets_its_gradient_through_and_blocks_the_other():
    """x = -1 2    mask = 1 0    output = -1 0    gradient of the sum = 1 0"""
    network = nn.Sequential(nn.ReLU())
    x = grid([-1, 2])
    with replaying(network, {"0": np.array([[[[1, 0]]]])}) as report:
        output = network(x)
    output.sum().backward()
    assert output.flatten().tolist() == [-1, 0]
    assert x.grad.flatten().tolist() == [1, 0]
    assert report.rows() == [("0", 2, 2)]


def test_replayed_argmax_takes_the_recorded_pixel():
    r"""
    1 2 3      the maximum is 9, at index 8; recorded is index 4, value 5
    4 5 6
    7 8 9
    """
    network = nn.Sequential(CeilMaxPool(3, 2))
    x = grid([1, 2, 3], [4, 5, 6], [7, 8, 9])
    with replaying(network, {"0": np.array([[[[4]]]])}) as report:
        output = network(x)
    output.backward()
    assert output.item() == 5
    assert x.grad.flatten().tolist() == [0, 0, 0, 0, 1, 0, 0, 0, 0]
    assert report.rows() == [("0", 1, 1)]


def test_another_pixel_with_the_same_maximum_is_no_other_decision():
    network = nn.Sequential(CeilMaxPool(3, 2))
    with replaying(network, {"0": np.array([[[[8]]]])}) as report:
        network(torch.ones(1, 1, 3, 3))
    assert report.rows() == [("0", 0, 1)]


def test_without_replay_the_network_is_as_before():
    network = nn.Sequential(nn.ReLU())
    with replaying(network, {"0": np.zeros((1, 1, 1, 2))}):
        network(grid([-1, 2]))
    assert network(grid([-1, 2])).flatten().tolist() == [0, 2]


def test_offsets_take_the_recorded_value_and_pass_the_gradient_to_the_networks_own():
    torch.manual_seed(0)
    network = nn.ModuleDict({"conv": DeformConv2d(2, 2, 3, padding=1)}).double()
    x = torch.randn(1, 2, 5, 5, dtype=torch.float64)
    own = torch.full((1, 18, 5, 5), 0.25, dtype=torch.float64, requires_grad=True)
    recorded = torch.full_like(own, 1.5).requires_grad_()
    expected = network["conv"](x, recorded)
    expected.sum().backward()
    with replaying(network, {"conv:offset": recorded.detach().numpy()}) as report:
        found = network["conv"](x, own)
    found.sum().backward()
    assert torch.equal(found, expected)
    assert torch.equal(own.grad, recorded.grad)
    assert own.grad.abs().max() > 0
    assert report.rows() == [("conv:offset", own.numel(), own.numel())]  # 0.25 and 1.5 lie in neighbouring cells


def test_cells_replace_only_offsets_that_lead_into_another_cell():
    """Own offsets 0.25; recorded 0.5 (same cell) for y, 1.5 (the next cell) for x."""
    torch.manual_seed(0)
    network = nn.ModuleDict({"conv": DeformConv2d(2, 2, 3, padding=1)}).double()
    x = torch.randn(1, 2, 5, 5, dtype=torch.float64)
    own = torch.full((1, 18, 5, 5), 0.25, dtype=torch.float64, requires_grad=True)
    recorded, mixed = own.detach().clone(), own.detach().clone()
    recorded[:, 0::2], recorded[:, 1::2], mixed[:, 1::2] = 0.5, 1.5, 1.5
    with replaying(network, {"conv:cells": recorded.numpy()}) as report:
        found = network["conv"](x, own)
    assert torch.equal(found, network["conv"](x, mixed))
    assert torch.autograd.grad(found.sum(), own)[0].abs().max() > 0
    assert report.rows() == [("conv:cells", own.numel() // 2, own.numel())]


def test_cells_of_parts_follow_their_samples():
    """Part (0, 0) moved by 2 px in x: its samples alone leave their cells, and its offset alone is replaced."""
    torch.manual_seed(0)
    pool = DeformPSRoIPool(
        spatial_scale=1.0, output_dim=1, group_size=1, pooled_size=2, part_size=2, sample_per_part=2, trans_std=0.1
    )
    network = nn.ModuleDict({"pool": pool}).double()
    x = torch.randn(1, 1, 24, 24, dtype=torch.float64)
    rois = torch.tensor([[0, 2.0, 2, 17, 17]], dtype=torch.float64)
    own = torch.full((1, 2, 2, 2), 0.01, dtype=torch.float64)
    recorded = torch.full_like(own, 0.012)
    recorded[0, 0, 0, 0] = 1.25  # trans_std 0.1 x 16 px
    mixed = own.clone()
    mixed[0, 0, 0, 0] = 1.25
    with replaying(network, {"pool:cells": recorded.numpy()}) as report:
        found = network["pool"](x, rois, own)
    assert torch.equal(found, network["pool"](x, rois, mixed))
    assert report.rows()[0][1] == 2  # the two sample columns of that bin


def test_offsets_in_the_same_cell_are_no_other_decision():
    network = nn.ModuleDict({"conv": DeformConv2d(1, 1, 3)})
    own = torch.full((1, 18, 3, 3), 0.25)
    with replaying(network, {"conv:offset": np.full(own.shape, 0.75, "float32")}) as report:
        network["conv"](torch.zeros(1, 1, 5, 5), own)
    assert report.rows() == [("conv:offset", 0, own.numel())]


def test_conv_positions_are_where_the_taps_stand():
    """3 taps, stride 2, padding 1, dilation 2: output column 1, tap 2 stands at 1*2 - 1 + 2*2 = 5, plus its offset."""
    module = DeformConv2d(1, 1, 3, stride=2, padding=1, dilation=2)
    offset = torch.zeros(1, 18, 4, 4)
    offset[0, 2 * 5 + 1, 3, 1] = 0.5  # x of tap 5: row 1, column 2
    positions = conv_positions(module, offset)
    assert positions[0, 0, 5, :, 3, 1].tolist() == [3 * 2 - 1 + 2, 5.5]


def test_pool_positions_are_where_the_operator_samples():
    """RoI 16..47 at scale 1/16: from 0.5 to 2.5; 2 bins of 1, 2 samples each, every 0.5; offset 1 * 0.1 * 2 = 0.2."""
    module = DeformPSRoIPool(1, spatial_scale=1 / 16, group_size=2, pooled_size=2, sample_per_part=2, trans_std=0.1)
    offset = torch.zeros(1, 2, 2, 2)
    offset[0, 0, 0, 1] = 1.0  # x of bin row 0, column 1
    x, y = pool_positions(module, torch.tensor([[0.0, 16, 16, 47, 47]]), offset)
    assert x[0, 0, 0, 1].tolist() == pytest.approx([1.7, 2.2])
    assert y[0, 0, 1, 0].tolist() == pytest.approx([1.5, 2.0])


def free_decisions(network, batch):
    with recording(network) as decisions:
        outputs = network.forward_train(batch, Draws(1))
    return decisions, outputs


def gradients(network, outputs):
    network.zero_grad()
    outputs.loss.backward()
    return {
        name: parameter.grad.clone() for name, parameter in network.named_parameters() if parameter.grad is not None
    }


def test_replaying_a_networks_own_decisions_changes_nothing(narrow, batch):
    recorded, free = free_decisions(narrow, batch)
    expected = gradients(narrow, free)
    replayed = narrow.forward_train(batch, Draws(1), replay=recorded)
    found = gradients(narrow, replayed)
    assert {name for name, _, _ in replayed.replayed.rows()} >= {
        "rpn.proposal",
        "hard_rois:labels",
        "head.cls_pool:offset",
    }
    assert [row for row in replayed.replayed.rows() if row[1]] == []
    assert torch.equal(replayed.loss, free.loss)
    for name, gradient in expected.items():
        assert torch.equal(found[name], gradient), name


def test_one_flipped_relu_changes_gradients_and_is_counted(narrow, batch):
    recorded, free = free_decisions(narrow, batch)
    expected = gradients(narrow, free)
    name = "backbone.stage3.0.relu2"
    recorded[name] = recorded[name].copy()
    recorded[name].flat[0] ^= True
    outputs = narrow.forward_train(batch, Draws(1), replay={name: recorded[name]})
    found = gradients(narrow, outputs)
    assert outputs.replayed.rows() == [(name, 1, recorded[name].size)]
    assert not torch.equal(found["backbone.stage3.0.conv2.weight"], expected["backbone.stage3.0.conv2.weight"])


def test_replayed_rois_reach_the_head(narrow, batch):
    recorded, _ = free_decisions(narrow, batch)
    samples = {name: recorded[name][:5] for name in recorded if name.startswith("proposal_target:")}
    outputs = narrow.forward_train(batch, Draws(1), replay=samples)
    assert outputs.cls_prob.shape == (1, 5, 4)
    differing = dict((name, count) for name, count, _ in outputs.replayed.rows())
    assert differing["proposal_target:rois"] == len(recorded["proposal_target:rois"]) - 5


def test_unknown_module_is_answered_with_the_nearest(narrow):
    with (
        pytest.raises(InputError, match=r"no module 'backbone\.stem\.relu1'; the nearest is 'backbone\.stem\.relu'"),
        replaying(narrow, {"backbone.stem.relu1": np.zeros(1)}),
    ):
        pass


def test_module_without_a_decision_is_refused(narrow):
    with (
        pytest.raises(InputError, match=r"rpn\.conv is a Conv2d, which takes no decision"),
        replaying(narrow, {"rpn.conv": np.zeros(1)}),
    ):
        pass


def test_wrong_shape_names_the_decision_and_both_shapes(narrow, batch):
    with pytest.raises(InputError, match=r"rpn\.relu: expected shape \(1, 8, 6, 6\), got \(1, 8, 5, 6\)"):
        narrow.forward_train(batch, Draws(1), replay={"rpn.relu": np.ones((1, 8, 5, 6))})


def test_half_of_a_sampling_is_refused(narrow, batch):
    with pytest.raises(InputError, match="hard_rois:labels and hard_rois:bbox_weights together, got hard_rois:labels"):
        narrow.forward_train(batch, Draws(1), replay={"hard_rois:labels": np.ones(4)})


def test_decision_that_no_forward_asks_for_is_an_error(narrow):
    with (
        pytest.raises(InputError, match=r"no forward asked for rpn\.relu"),
        replaying(narrow, {"rpn.relu": np.ones(1)}),
    ):
        pass
