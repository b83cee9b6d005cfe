"""Parity of networks with modulated deformable convolutions: forward against MXNet, gradients against a loop, marked so."""

import pytest
import torch

from dcn_suite.parity.run import Settings, run_parity

pytestmark = pytest.mark.mxnet
SIZE = (80, 96)
CONFIGS = {
    "Faster R-CNN": ("demo/narrow_rcnn_dcnv2", "res5a_branch2b"),
    "ResNet": ("demo/narrow_rfcn_dcnv2", "res5a_branch2b"),
    "Aligned-Inception-ResNet": ("demo/narrow_aligned_rfcn_dcnv2", "res5a_branch3c"),
}


@pytest.mark.parametrize("kind", CONFIGS)
def test_narrow_networks_hold_and_say_what_mxnet_cannot(kind):
    config, conv = CONFIGS[kind]
    result = run_parity(config, Settings(SIZE, grad=True))
    assert [row.what for row in result.table.red] == []
    isolated = {row.quantity: row for row in result.table.judged if row.check == "isolated" and row.node == conv}
    gradients = {f"d {conv}{suffix}" for suffix in ("_offset_t", "_mask", "_weight")}
    assert gradients <= set(isolated)
    marked = {name for name, row in isolated.items() if "MXNet has no CPU backward" in row.claim}
    assert marked == {name for name in isolated if name.startswith("d ")}
    assert {f"{conv}_mask_sigmoid", f"{conv}_mask", f"{conv}_offset_t"} <= {row.node for row in result.table.judged}
    (told,) = [row for row in result.table if row.check == "chained" and "MXNet has no CPU backward" in row.claim]
    assert conv in told.node


def spoil_mask(network):
    network.head.pool.sigmoid.register_forward_hook(lambda module, args, output: 2 * output)


def test_a_doubled_mask_of_roi_pooling_turns_its_own_row_red_first():
    result = run_parity("demo/narrow_rcnn_dcnv2", Settings((48, 64), spoil=spoil_mask))
    assert {row.node for row in result.table.red if row.check == "isolated"} == {"roi_mask_sigmoid"}


def spoil_factor(network):
    network.backbone.stage5[0].modulation.twice.factor = 1.0


def spoil_border(network):
    network.backbone.stage5[0].conv2.border = "clamp"


def spoil_order(network):
    """Masks first, offsets last."""
    with torch.no_grad():
        for parameter in network.backbone.stage5[0].offset_conv.parameters():
            parameter.copy_(parameter.roll(9, dims=0))


@pytest.mark.parametrize(
    ("spoil", "node"),
    [
        (spoil_factor, "res5a_branch2b_mask"),
        (spoil_border, "res5a_branch2b"),
        (spoil_order, "res5a_branch2b_offset"),
    ],
)
def test_a_mistake_turns_its_own_row_red_first(spoil, node):
    result = run_parity("demo/narrow_rfcn_dcnv2", Settings((48, 64), spoil=spoil))
    assert {row.node for row in result.table.red if row.check == "isolated"} == {node}
