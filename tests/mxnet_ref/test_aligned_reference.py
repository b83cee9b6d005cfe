"""The reference's Aligned-Inception-ResNet: count of parameters, node names, where it is deformable, what is refused."""

import pytest

from dcn_tasks.config import load_config
from dcn_tasks.errors import InputError

pytestmark = pytest.mark.mxnet
FULL = "rfcn/resnet_v1_101_coco_trainval_rfcn_dcn_end2end_ohem"
HEADS = ("rpn_", "conv_new_", "rfcn_")


def shapes(**overrides):
    from mxnet_ref.init import network_shapes

    cfg = load_config(FULL, network__BACKBONE="aligned_inception_resnet", **overrides)
    return network_shapes(cfg)[0]


def trace(**overrides):
    from mxnet_ref import build_symbol
    from mxnet_ref import trace as traced

    symbol = build_symbol(FULL, False, network__BACKBONE="aligned_inception_resnet", **overrides)
    return {line.split(" | ")[1]: line for line in traced(symbol)}


def test_parameters_are_the_papers_64_3_million():
    """As torch_port's, counted here from the shapes that MXNet infers; the classifier has 2.049 M."""
    counts = {"weight": 0, "gamma": 0, "beta": 0}
    for name, shape in shapes().items():
        kind = name.rpartition("_")[2]
        if kind in counts and not name.startswith(HEADS) and "_offset" not in name:
            size = 1
            for side in shape:
                size *= side
            counts[kind] += size
    assert round(counts["weight"] / 1e6, 3) == 62.203
    assert round((sum(counts.values()) + 2_049_000) / 1e6, 3) == 64.382


def test_a_unit_in_the_original_spelling():
    lines = trace()
    assert lines["res3a_branch2b"].endswith(
        "dilate=(1, 1), kernel=(3, 3), no_bias=True, num_filter=128, pad=(1, 1), stride=(2, 2)"
    )
    assert lines["res3a_branch3b"].split(" | ")[2] == "data=res3a_branch3a_relu"
    assert lines["res5c_concat"].split(" | ")[2] == "res5c_branch2b, res5c_branch3c"
    assert lines["res5c_merge"].split(" | ")[2] == "data=res5c_concat_relu"
    assert lines["res4b22"].split(" |")[2].strip() == "res4b21_relu, bn4b22_merge"
    assert "num_group" not in lines["res5c_branch3c"]
    assert lines["res5c_branch3c"].startswith(
        "DeformableConvolution | res5c_branch3c | data=res5c_branch3b_relu, offset=res5c_branch3c_offset"
    )


def deformable(**overrides):
    return [name for name, line in trace(**overrides).items() if line.startswith("DeformableConvolution")]


def test_the_last_three_3x3_convolutions_are_deformable_by_default_and_all_nine_by_option():
    last = ["res5c_branch2b", "res5c_branch3b", "res5c_branch3c"]
    assert deformable() == last
    every = [name.replace("5c", f"5{letter}") for letter in "abc" for name in last]
    assert deformable(network__DEFORM_CONV_UNITS=["res5a", "res5b", "res5c"]) == every


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            {"network__BACKBONE": "inception"},
            "expected one of resnet_v1, resnet_v1_torchvision, aligned_inception_resnet, got 'inception'",
        ),
        ({"symbol": "resnet_v1_101_deeplab"}, "built for rfcn and rcnn, as in the paper, not for deeplab"),
        ({"network__BASE_WIDTH": 7}, "expected an even number"),
        ({"network__DEFORM_CONV_UNITS": ["res5c_branch2c"]}, "did you mean res5c_branch3c|did you mean res5c_branch2b"),
        ({"network__NUM_DEFORMABLE_GROUP": 512}, "divisor of the 256 channels of res5c_branch3b"),
    ],
)
def test_what_cannot_be_built_is_refused(overrides, message):
    from mxnet_ref import build_symbol

    with pytest.raises(InputError, match=message):
        build_symbol(FULL, False, **{"network__BACKBONE": "aligned_inception_resnet", **overrides})
