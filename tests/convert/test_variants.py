"""Every row of the paper's ablations is arguments of one network: it builds in both frameworks and converts both ways."""

import itertools
import warnings

import pytest
import torch

from dcn_tasks.config import load_config
from tests.convert.checkpoints import made_up
from weights_convert import rules_for, to_mxnet, to_torch

PLAIN = {
    "R-FCN": "rfcn/resnet_v1_101_voc0712_rfcn_end2end_ohem",
    "Faster R-CNN": "faster_rcnn/resnet_v1_101_voc0712_rcnn_end2end",
}
# ResNet-101's units, an eighth as wide
NARROW = {"network__BASE_WIDTH": 8, "network__HEAD_WIDTH": 8, "network__FC_WIDTH": 8, "network__RPN_WIDTH": 8}
LAYERS = {
    0: [],
    1: ["res5c"],
    2: ["res5b", "res5c"],
    3: ["res5a", "res5b", "res5c"],
    6: ["res4b20", "res4b21", "res4b22", "res5a", "res5b", "res5c"],
}
DILATIONS = (2, 4, 6, 8)
ROWS = {
    **{
        f"{count} deformable layers, {'deformable' if pooling else 'plain'} pooling": (units, pooling, 2)
        for (count, units), pooling in itertools.product(LAYERS.items(), (False, True))
    },
    **{f"dilation {dilation}": ([], False, dilation) for dilation in DILATIONS[1:]},
}


def variant(network: str, row: str, groups: int = 1):
    units, pooling, dilation = ROWS[row]
    return load_config(
        PLAIN[network],
        network__DEFORM_CONV_UNITS=units,
        network__DEFORM_ROI_POOLING=pooling,
        network__RES5_DILATION=dilation,
        network__NUM_DEFORMABLE_GROUP=groups,
        **NARROW,
    )


@pytest.mark.parametrize("row", ROWS)
@pytest.mark.parametrize("network", PLAIN)
def test_torch_network_takes_the_converted_arrays_and_gives_them_back(network, row):
    from torch_port.models import build_network

    cfg = variant(network, row)
    params = made_up(cfg, test_copies=False)
    with warnings.catch_warnings(), torch.device("meta"):
        built = build_network(cfg)
    state = to_torch(params, cfg)
    assert {name: tensor.shape for name, tensor in built.state_dict().items()} == {n: t.shape for n, t in state.items()}
    back = to_mxnet(state, cfg)
    assert back.arg.keys() == params.arg.keys() and back.aux.keys() == params.aux.keys()
    assert all((back.arg[name] == params.arg[name]).all() for name in params.arg)


@pytest.mark.mxnet
@pytest.mark.parametrize("row", ROWS)
@pytest.mark.parametrize("network", PLAIN)
def test_mxnet_graph_has_the_rows_layers_and_the_rules_arrays(network, row):
    import mxnet_ref

    cfg = variant(network, row)
    units, pooling, dilation = ROWS[row]
    lines = mxnet_ref.trace(mxnet_ref.build_symbol(cfg, True))
    convolutions = [line.split(" | ")[1] for line in lines if line.startswith("DeformableConvolution")]
    assert convolutions == [f"{unit}_branch2b" for unit in units]
    moved = [line for line in lines if line.startswith("DeformablePSROIPooling") and "no_trans=False" in line]
    assert len(moved) == (0 if not pooling else 2 if network == "R-FCN" else 1)
    (middle,) = [line for line in lines if " | res5b_branch2b | " in line]
    assert f"dilate=({dilation}, {dilation})" in middle and f"pad=({dilation}, {dilation})" in middle
    symbol = mxnet_ref.build_symbol(cfg, False)
    shapes, _, states = symbol.infer_shape(data=(1, 3, 64, 64), im_info=(1, 3))
    inferred = dict(zip(symbol.list_arguments(), shapes, strict=True))
    inferred |= dict(zip(symbol.list_auxiliary_states(), states, strict=True))
    assert {entry.mxnet: entry.shape for entry in rules_for(cfg).entries.values()} == {
        name: shape for name, shape in inferred.items() if name not in ("data", "im_info")
    }


def test_offsets_in_stage_4_are_predicted_without_dilation_and_in_stage_5_with_the_stages():
    from torch_port.models import build_network

    with torch.device("meta"):
        network = build_network(variant("R-FCN", "6 deformable layers, plain pooling"))
    assert network.backbone.stage4[22].offset_conv.dilation == network.backbone.stage4[22].conv2.dilation == (1, 1)
    assert network.backbone.stage5[2].offset_conv.dilation == network.backbone.stage5[2].conv2.dilation == (2, 2)
