"""The network that a configuration describes."""

from pathlib import Path

import pytest

from dcn_tasks.config import load_config
from dcn_tasks.errors import InputError
from dcn_tasks.network import NetworkSpec

PLAIN = "rfcn/resnet_v1_101_voc0712_rfcn_end2end_ohem"
DEFORMABLE = "rfcn/resnet_v1_101_voc0712_rfcn_dcn_end2end_ohem"


def spec(name: str | Path = PLAIN, **overrides: object) -> NetworkSpec:
    return NetworkSpec.from_config(load_config(name, **overrides))


@pytest.mark.parametrize(
    ("name", "units", "roi_pooling", "groups", "pooled"),
    [
        (PLAIN, (), False, 4, 7),
        (DEFORMABLE, ("res5a", "res5b", "res5c"), True, 4, 7),
        ("rfcn/deform_conv_demo", ("res5a", "res5b", "res5c"), False, 1, 7),
        ("rfcn/deform_psroi_demo", (), True, 4, 3),
    ],
)
def test_symbol_says_what_is_deformable(name, units, roi_pooling, groups, pooled) -> None:
    network = spec(name)
    assert network.deform_conv_units == units
    assert network.deform_roi_pooling is roi_pooling
    assert (network.num_deformable_group, network.pooled_size) == (groups, pooled)


@pytest.mark.parametrize(
    ("symbol", "family", "head_width", "groups", "dilation", "offset_dilation"),
    [
        ("resnet_v1_101_rfcn_dcn", "rfcn", 1024, 4, 2, None),
        ("resnet_v1_101_rcnn_dcn", "rcnn", 256, 4, 2, None),
        ("resnet_v1_101_fpn_dcn_rcnn", "fpn", 256, 4, 1, None),
        ("resnet_v1_101_deeplab_dcn", "deeplab", 1024, 1, 2, 1),
    ],
)
def test_a_file_of_the_original_that_knows_only_its_keys_gets_what_its_symbol_writes_out(
    tmp_path, symbol, family, head_width, groups, dilation, offset_dilation
) -> None:
    path = tmp_path / "original.yaml"
    path.write_text(f"symbol: {symbol}\nnetwork: {{NUM_ANCHORS: 9}}\n")
    network = spec(path)
    assert (network.family, network.head_width, network.pooled_size) == (family, head_width, 7)
    assert (network.num_deformable_group, network.res5_dilation) == (groups, dilation)
    assert network.offset_dilation == offset_dilation


def test_deformable_fpn_deforms_the_last_units_of_stages_3_and_4_too() -> None:
    network = spec(symbol="resnet_v1_101_fpn_dcn_rcnn")
    assert network.deform_conv_units == ("res3b3", "res4b22", "res5a", "res5b", "res5c")


def test_what_a_symbol_writes_out_can_be_changed() -> None:
    changed = spec(
        DEFORMABLE, network__HEAD_WIDTH=96, network__DEFORM_CONV_UNITS=["res5c"], network__DEFORM_ROI_POOLING=False
    )
    assert (changed.head_width, changed.deform_conv_units, changed.deform_roi_pooling) == (96, ("res5c",), False)


def test_offsets_of_the_demo_are_predicted_without_dilation_and_res5_dilates_by_two() -> None:
    assert spec("rfcn/deform_conv_demo").offset_dilation == 1
    assert spec(DEFORMABLE).offset_dilation is None
    assert spec(DEFORMABLE).res5_dilation == 2
    assert spec(network__RES5_DILATION=6).res5_dilation == 6


def test_resnet_101_numbers_the_units_of_stages_3_and_4() -> None:
    network = spec()
    assert network.unit_names(2) == ["2a", "2b", "2c"]
    assert network.unit_names(3) == ["3a", "3b1", "3b2", "3b3"]
    assert network.unit_names(4)[:3] == ["4a", "4b1", "4b2"] and network.unit_names(4)[-1] == "4b22"
    assert network.unit_names(5) == ["5a", "5b", "5c"]


def test_other_depths_use_letters_while_they_last() -> None:
    network = spec("rfcn/resnet_v1_50_voc0712_rfcn_end2end_ohem")
    assert network.unit_names(4) == ["4a", "4b", "4c", "4d", "4e", "4f"]
    assert spec(network__UNITS=[3, 8, 27, 3]).unit_names(4)[-1] == "4b26"


def test_class_agnostic_boxes_have_two_slots_and_others_one_per_class() -> None:
    assert spec().num_reg_classes == 2
    assert spec(CLASS_AGNOSTIC=False).num_reg_classes == 21


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        ({"symbol": "vgg16"}, "symbol: expected one of resnet_v1_101_rfcn"),
        ({"network__NUM_ANCHORS": 8}, "NUM_ANCHORS: expected 9"),
        ({"network__UNITS": [3, 4, 23]}, "UNITS: expected 4 whole numbers from 1 to 1000"),
        ({"network__UNITS": [3, 0, 23, 3]}, "UNITS: expected 4 whole numbers from 1 to 1000"),
        ({"network__DEFORM_CONV_UNITS": ["res5d"]}, "no unit 'res5d': did you mean res5"),
        ({"network__NUM_DEFORMABLE_GROUP": 3}, "expected a divisor of the 512 channels of res5a_branch2b, got 3"),
    ],
)
def test_impossible_network_is_refused(overrides: dict, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        spec(DEFORMABLE, **overrides)
