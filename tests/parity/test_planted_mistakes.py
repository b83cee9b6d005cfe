"""The proof is proven: every mistake that ports of these networks have made turns its own row red, and it comes first."""

import torch
from torch import nn

from dcn_suite.parity.report import Result
from dcn_suite.parity.rows import Row


def first_red(result: Result, check: str = "isolated") -> Row:
    rows = [row for row in result.table.red if row.check == check]
    assert rows, "the mistake was not noticed"
    return rows[0]


def change_offset(module: nn.Module, change) -> None:
    """Hands a RoI pooling its (input, rois, offset) changed."""
    module.register_forward_pre_hook(lambda module, args: change(*args))


def test_without_a_mistake_nothing_is_red(against_recording):
    result = against_recording()
    assert result.table.red == []
    assert result.table.holds
    checks = {entry["name"]: entry["count"] for entry in result.table.summary()}
    assert checks["isolated"] > 200
    assert checks["chained"] > 100
    assert checks["detections"] == 2


def test_the_border_rule_of_dcnv2(against_recording):
    def spoil(network):
        network.backbone.stage5[0].conv2.border = "zeros"

    assert first_red(against_recording(spoil=spoil)).node == "res5a_branch2b"


def test_part_offsets_with_y_first(against_recording):
    def swap(input, rois, offset):
        return input, rois, offset.unflatten(1, (-1, 2)).flip(2).flatten(1, 2)

    row = first_red(against_recording(spoil=lambda network: change_offset(network.head.cls_pool, swap)))
    assert (row.node, row.quantity) == ("psroipooled_cls_rois", "output")


def test_batch_normalisation_with_twice_the_eps(against_recording):
    def spoil(network):
        network.backbone.stage3[0].bn2.eps = 2e-5

    result = against_recording(spoil=spoil)
    assert first_red(result).node == "bn3a_branch2b"
    assert {row.node for row in result.table.red if row.check == "isolated"} == {"bn3a_branch2b"}
    activations = [row for row in result.table.red if row.check == "chained" and row.quantity == "output"]
    assert activations[0].node == "bn3a_branch2b"


def test_pooling_that_rounds_the_output_size_down(against_recording):
    def spoil(network):
        network.backbone.stem.pool = nn.MaxPool2d(3, 2)

    result = against_recording(spoil=spoil)
    row = first_red(result)
    assert row.node == "pool1"
    assert "(1, 2, 10, 14)" in row.note
    assert "(1, 2, 9, 13)" in row.note
    assert not result.table.holds


def test_rois_rounded_half_to_even(against_recording):
    def round_half_even(input, rois, *offset):
        return input, torch.cat([rois[:, :1], rois[:, 1:].round()], dim=1), *offset

    row = first_red(against_recording(spoil=lambda network: change_offset(network.head.bbox_pool, round_half_even)))
    assert row.node == "psroipooled_loc_rois"
    assert row.quantity.endswith("RoIs at .5")  # a network's own RoIs would not have shown it


def test_test_weights_ignored(against_recording):
    row = first_red(against_recording(use_test_weights=False))
    assert row.node == "rfcn_bbox"


def test_a_transposed_weight(against_recording):
    def spoil(network):
        weight = network.backbone.stage4[0].conv2.weight
        weight.data = weight.data.transpose(0, 1).contiguous()

    assert first_red(against_recording(spoil=spoil)).node == "res4a_branch2b"


def test_rois_without_their_last_pixel(against_recording):
    def shorten(input, rois, *offset):
        return input, rois - torch.tensor([0.0, 0, 0, 1, 1], dtype=rois.dtype), *offset

    assert (
        first_red(against_recording(spoil=lambda n: change_offset(n.head.cls_offset_pool, shorten))).node
        == "rfcn_cls_offset"
    )


def test_anchors_one_pixel_off(against_recording):
    def spoil(network):
        network.rpn.proposal.register_forward_hook(lambda module, args, rois: rois + (rois > 0))

    row = first_red(against_recording(spoil=spoil))
    assert (row.node, row.got > 0) == ("rois", True)


def test_a_module_that_refuses_its_input_is_a_red_row_and_not_a_crash(against_recording):
    def spoil(network):
        network.head.reduce = nn.Conv2d(3, 12, 1)

    result = against_recording(spoil=spoil)
    assert first_red(result).node == "conv_new_1"
    assert first_red(result, "chained").quantity == "run"
