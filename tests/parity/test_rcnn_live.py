"""Parity of Faster R-CNN: whole, and with mistakes that porters make."""

import pytest
import torch

from dcn_suite.parity.run import Settings, run_parity

pytestmark = pytest.mark.mxnet
SIZE = (96, 128)
CONFIGS = {"plain": "demo/narrow_rcnn", "deformable": "demo/narrow_rcnn_dcn"}


@pytest.mark.parametrize("kind", CONFIGS)
def test_narrow_networks_hold_forward_and_backward(kind):
    result = run_parity(CONFIGS[kind], Settings(SIZE, grad=True))
    assert [row.what for row in result.table.red] == []
    assert {"isolated", "chained", "detections"} <= {row.check for row in result.table.judged}
    pool = {"plain": "roi_pool", "deformable": "deformable_roi_pool"}[kind]
    assert any(row.node == pool and row.quantity == "d conv_new_1_relu, RoIs at .5" for row in result.table)


def spoil_cells(network):
    """RoIs rounded down to whole cells, not to the nearest."""

    def floor(module, args):
        return args[0], torch.cat([args[1][:, :1], (args[1][:, 1:] / 16).floor() * 16], dim=1)

    network.head.pool.register_forward_pre_hook(floor)


def spoil_part_order(network):
    """Offsets of parts read with y first, as those of deformable convolutions are."""
    network.head.pool.register_forward_pre_hook(lambda module, args: (*args[:2], args[2].flip(1)))


def spoil_flattening(network):
    """Pooled features in the order H, W, C."""
    network.head.fc1.register_forward_pre_hook(lambda module, args: (args[0].permute(0, 2, 3, 1),))


@pytest.mark.parametrize(
    ("kind", "spoil", "node"),
    [
        ("plain", spoil_cells, "roi_pool"),
        ("deformable", spoil_part_order, "deformable_roi_pool"),
        ("plain", spoil_flattening, "fc_new_1"),
    ],
    ids=["floored cells", "y first", "channels last"],
)
def test_a_mistake_turns_its_own_row_red(kind, spoil, node):
    result = run_parity(CONFIGS[kind], Settings((64, 80), spoil=spoil))
    assert {row.node for row in result.table.red if row.check == "isolated"} == {node}


def test_normalised_box_weights_turn_the_boxes_red():
    result = run_parity(CONFIGS["plain"], Settings((64, 80), use_test_weights=False))
    assert {row.node for row in result.table.red if row.check == "isolated"} == {"bbox_pred"}
