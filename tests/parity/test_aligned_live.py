"""Parity of R-FCN and Faster R-CNN on Aligned-Inception-ResNet: whole, and with mistakes that porters make."""

import pytest

from dcn_suite.parity.run import Settings, run_parity

pytestmark = pytest.mark.mxnet
SIZE = (80, 96)
CONFIGS = {
    "plain": "demo/narrow_aligned_rfcn",
    "deformable": "demo/narrow_aligned_rfcn_dcn",
    "plain Faster R-CNN": "demo/narrow_aligned_rcnn",
    "deformable Faster R-CNN": "demo/narrow_aligned_rcnn_dcn",
}


@pytest.mark.parametrize("kind", CONFIGS)
def test_narrow_networks_hold_forward_and_backward(kind):
    result = run_parity(CONFIGS[kind], Settings(SIZE, grad=True))
    assert [row.what for row in result.table.red] == []
    assert {"isolated", "chained", "detections"} <= {row.check for row in result.table.judged}
    nodes = {row.node for row in result.table.judged if row.check == "isolated"}
    assert {"pool1", "res5a_concat", "bn5a_concat", "res5a_merge", "res5a_branch3c"} <= nodes
    assert ("res5a_branch3c_offset" in nodes) == kind.startswith("deformable")


def spoil_padding(network):
    network.backbone.stem.pool.padding = 0


def spoil_order(network):
    concat = network.backbone.stage4[1].concat
    concat.register_forward_pre_hook(lambda module, maps: maps[::-1])


def spoil_dilation(network):
    conv = network.backbone.stage5[0].b.offset_conv3
    conv.dilation = conv.padding = (1, 1)


@pytest.mark.parametrize(
    ("spoil", "node"),
    [(spoil_padding, "pool1"), (spoil_order, "res4b_concat"), (spoil_dilation, "res5a_branch3c_offset")],
)
def test_a_mistake_turns_its_own_row_red_first(spoil, node):
    result = run_parity(CONFIGS["deformable"], Settings((48, 64), spoil=spoil))
    assert {row.node for row in result.table.red if row.check == "isolated"} == {node}
