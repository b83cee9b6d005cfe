"""Parity of FPN: whole, and with mistakes that porters make."""

import pytest

from dcn_suite.parity.run import Settings, run_parity

pytestmark = pytest.mark.mxnet
SIZE = (128, 160)
CONFIGS = {"plain": "demo/narrow_fpn", "deformable": "demo/narrow_fpn_dcn"}


@pytest.mark.parametrize("kind", CONFIGS)
def test_narrow_networks_hold_forward_and_backward(kind):
    result = run_parity(CONFIGS[kind], Settings(SIZE, grad=True))
    assert [row.what for row in result.table.red] == []
    assert {"isolated", "chained", "detections"} <= {row.check for row in result.table.judged}
    pooled = {row.quantity for row in result.table.judged if row.node == "fpn_roi_pooling" and row.check == "isolated"}
    assert {"d fpn_p2", "d fpn_p3", "d fpn_p4", "d fpn_p5"} <= pooled
    assert ("d offset_p4_weight" in pooled) == (kind == "deformable")


def spoil_level_rule(network):
    network.head.roi_pool.level_side = 44.0


def spoil_upsampling(network):
    network.neck.upsample["p5"].mode = "bilinear"


def spoil_anchors(network):
    network.rpn.proposal.ratios = network.rpn.proposal.ratios[::-1]


@pytest.mark.parametrize(
    ("spoil", "node"),
    [(spoil_level_rule, "fpn_roi_pooling"), (spoil_upsampling, "fpn_p5_upsample"), (spoil_anchors, "rois")],
)
def test_a_mistake_turns_its_own_row_red_first(spoil, node):
    result = run_parity(CONFIGS["plain"], Settings((96, 128), spoil=spoil))
    assert {row.node for row in result.table.red if row.check == "isolated"} == {node}
