"""Parity of DeepLab: whole, and with mistakes that porters make."""

import pytest
import torch

from dcn_suite.parity.run import Settings, run_parity

pytestmark = pytest.mark.mxnet
SIZE = (96, 128)
CONFIGS = {"plain": "demo/narrow_deeplab", "deformable": "demo/narrow_deeplab_dcn"}


@pytest.mark.parametrize("kind", CONFIGS)
def test_narrow_networks_hold_forward_and_backward(kind):
    result = run_parity(CONFIGS[kind], Settings(SIZE, grad=True))
    assert [row.what for row in result.table.red] == []
    assert {"isolated", "chained", "free-running", "labels"} <= {row.check for row in result.table.judged}
    (pixels,) = [row for row in result.table.judged if row.check == "free-running"]
    assert (pixels.got, pixels.quantity) == (0, "pixels")


@pytest.mark.parametrize("kind", CONFIGS)
def test_narrow_networks_hold_where_float64_goes_from_end_to_end_to_its_outputs_alone(kind):
    """As the rows of Cityscapes are compared at 1024x2048."""
    table = run_parity(CONFIGS[kind], Settings((64, 80), float64=False)).table
    assert [row.what for row in table.red] == []
    assert {"isolated", "chained", "labels"} <= {row.check for row in table.judged}
    spoiled = run_parity(CONFIGS[kind], Settings((64, 80), float64=False, spoil=spoil_crop)).table
    assert {row.check for row in spoiled.red} >= {"isolated", "labels"}


def spoil_crop(network):
    network.head.crop.offset = 0


def spoil_upsampling(network):
    with torch.no_grad():
        network.head.upsampling.weight.copy_(network.head.upsampling.weight.roll(1, dims=3))


def spoil_dilation(network):
    network.backbone.stage5[0].offset_conv.dilation = network.backbone.stage5[0].offset_conv.padding = (2, 2)


@pytest.mark.parametrize(
    ("spoil", "node"),
    [
        (spoil_crop, "croped_score"),
        (spoil_upsampling, "upsampling"),
        (spoil_dilation, "res5a_branch2b_offset"),
    ],
)
def test_a_mistake_turns_its_own_row_red_first(spoil, node):
    result = run_parity(CONFIGS["deformable"], Settings((64, 80), spoil=spoil))
    red = [row for row in result.table.red if row.check == "isolated"]
    assert {row.node for row in red} == {node}
    assert any(row.check in ("labels", "free-running") and row.quantity == "pixels" for row in result.table.red)


def test_a_training_that_learns_from_pixels_without_a_class_is_noticed():
    def spoil(network):
        network.losses.seg.register_forward_pre_hook(
            lambda module, args: (args[0], args[1].masked_fill(args[1] == 255, 0))
        )

    result = run_parity(CONFIGS["plain"], Settings((64, 80), grad=True, spoil=spoil))
    assert {row.node for row in result.table.red if row.check == "isolated"} == {"softmax"}
