"""Parity of the class-aware RPN: whole, and with mistakes that porters make."""

import pytest

from dcn_suite.parity.run import Settings, run_parity

pytestmark = pytest.mark.mxnet
SIZE = (64, 80)
CONFIGS = {"plain, no hidden layer": "demo/narrow_class_aware_rpn", "deformable": "demo/narrow_class_aware_rpn_dcn"}


@pytest.mark.parametrize("kind", CONFIGS)
def test_narrow_networks_hold_forward_and_backward(kind):
    result = run_parity(CONFIGS[kind], Settings(SIZE, grad=True))
    assert [row.what for row in result.table.red] == []
    assert {"isolated", "chained", "detections"} <= {row.check for row in result.table.judged}
    assert any(row.node == "candidates" and row.quantity == "output 1" for row in result.table.judged)


def spoil_channel_order(network):
    """Channels read anchor by anchor, with the classes innermost."""

    def transposed(module, args):
        maps = args[0]
        anchors = network.rpn.num_anchors
        return (maps.unflatten(1, (anchors, -1)).transpose(1, 2).flatten(1, 2),)

    network.rpn.softmax.register_forward_pre_hook(transposed)


def spoil_stride(network):
    network.rpn.candidates.feature_stride = 8


@pytest.mark.parametrize(
    ("spoil", "node"),
    [(spoil_channel_order, "rpn_cls_prob"), (spoil_stride, "candidates")],
    ids=["anchors first", "stride 8"],
)
def test_a_mistake_turns_its_own_row_red(spoil, node):
    result = run_parity(CONFIGS["deformable"], Settings(SIZE, spoil=spoil))
    assert {row.node for row in result.table.red if row.check == "isolated"} == {node}
