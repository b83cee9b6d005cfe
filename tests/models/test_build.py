"""Configurations become networks with the original's parameters, of the original's shapes, some of them fixed."""

import math
import re

import pytest
import torch
from tolerances import STANDARD_ERRORS

from dcn_tasks.config import load_config
from dcn_tasks.errors import InputError
from torch_port.layers import DeformConv2d, DeformPSRoIPool, PSRoIPool
from torch_port.models import build_network
from torch_port.models.build import fixed_parameters

VOC_DCN = "rfcn/resnet_v1_101_voc0712_rfcn_dcn_end2end_ohem"
VOC = "rfcn/resnet_v1_101_voc0712_rfcn_end2end_ohem"
COCO_DCN = "rfcn/resnet_v1_101_coco_trainval_rfcn_dcn_end2end_ohem"
COCO = "rfcn/resnet_v1_101_coco_trainval_rfcn_end2end_ohem"
RCNN = "faster_rcnn/resnet_v1_101_voc0712_rcnn_end2end"
RCNN_DCN = "faster_rcnn/resnet_v1_101_voc0712_rcnn_dcn_end2end"
RCNN_COCO_DCN = "faster_rcnn/resnet_v1_101_coco_trainval_rcnn_dcn_end2end"
CLASSES_AND_ANCHORS = {VOC_DCN: (21, 9), VOC: (21, 9), COCO_DCN: (81, 12), COCO: (81, 12)}
CLASSES_AND_ANCHORS |= {RCNN: (21, 9), RCNN_DCN: (21, 9), RCNN_COCO_DCN: (81, 12)}


def on_meta(config, **overrides):
    with torch.device("meta"):
        return build_network(load_config(config, **overrides))


HEADS = {
    "rfcn": lambda classes: {
        "head.reduce": (1024, 2048, 1, 1),
        "head.cls_maps": (49 * classes, 1024, 1, 1),
        "head.bbox_maps": (392, 1024, 1, 1),
    },
    "faster_rcnn": lambda classes: {
        "head.reduce": (256, 2048, 1, 1),
        "head.fc1": (1024, 12544),
        "head.fc2": (1024, 1024),
        "head.cls_score": (classes, 1024),
        "head.bbox_pred": (4 * classes, 1024),
    },
}
DEFORMABLE_HEADS = {
    "rfcn": lambda classes: {
        "head.cls_offset_maps": (98 * classes, 1024, 1, 1),
        "head.bbox_offset_maps": (98, 1024, 1, 1),
    },
    "faster_rcnn": lambda classes: {"head.offset": (98, 12544)},
}


def new_parameters(family, classes, anchors, deformable):
    """The parameters that are not ImageNet's: the table of the original's networks, under this project's names."""
    table = {
        "rpn.conv": (512, 1024, 3, 3),
        "rpn.cls_score": (2 * anchors, 512, 1, 1),
        "rpn.bbox_pred": (4 * anchors, 512, 1, 1),
        **HEADS[family](classes),
    }
    if deformable:
        table |= DEFORMABLE_HEADS[family](classes)
        table |= {f"backbone.stage5.{unit}.offset_conv": (72, 512, 3, 3) for unit in range(3)}
    shapes = {f"{name}.weight": shape for name, shape in table.items()}
    return shapes | {f"{name}.bias": shape[:1] for name, shape in table.items()}


@pytest.mark.parametrize("config", CLASSES_AND_ANCHORS)
def test_new_parameters_are_the_originals(config):
    classes, anchors = CLASSES_AND_ANCHORS[config]
    network = on_meta(config)
    found = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    expected = new_parameters(config.partition("/")[0], classes, anchors, deformable="dcn" in config)
    backbone = re.compile(r"backbone\.(stem|stage\d\.\d+(\.shortcut)?)\.(conv\d?|bn\d?)\.")
    assert {name: shape for name, shape in found.items() if not backbone.match(name)} == expected


def test_backbone_has_the_originals_104_convolutions_and_normalisations():
    names = on_meta(VOC).backbone.state_dict().keys()
    weights = [name for name in names if re.search(r"conv\d?\.weight$", name)]
    assert len(weights) == 104
    for kind in ("weight", "bias", "running_mean", "running_var"):
        assert len([name for name in names if re.search(rf"\bbn\d?\.{kind}$", name)]) == 104
    assert len(names) == 5 * 104


def node_fields(line):
    operator, name, inputs, attributes = (part.strip() for part in line.split(" | "))
    values = dict(re.findall(r"(\w+)=(\([^)]*\)|[^,]+)", attributes))
    return operator, name, [part.split("=")[-1] for part in inputs.split(", ")], values


def counted_from_the_graph(text):
    """Number of trainable numbers of a listed training graph, from nothing but its nodes."""
    channels, total = {"data": 3}, 0
    for line in text.splitlines():
        if line.startswith("Variable") or not line.strip():
            continue
        operator, name, inputs, values = node_fields(line + " " if line.endswith("|") else line)
        channels[name] = channels.get(inputs[0])
        if operator in ("Convolution", "DeformableConvolution"):
            filters = int(values["num_filter"])
            taps = math.prod(map(int, re.findall(r"\d+", values["kernel"])))
            total += filters * channels[inputs[0]] * taps + (0 if values.get("no_bias") == "True" else filters)
            channels[name] = filters
        elif operator == "FullyConnected":
            source = inputs[0]
            features = channels[source] * (49 if source in ("roi_pool", "offset_t", "deformable_roi_pool") else 1)
            channels[name] = int(values["num_hidden"])
            total += channels[name] * (features + 1)
        elif operator == "BatchNorm":
            total += 2 * channels[name]
    return total


@pytest.mark.parametrize(
    "config, listing",
    [
        (VOC, "rfcn_train.txt"),
        (VOC_DCN, "rfcn_dcn_train.txt"),
        (RCNN, "rcnn_train.txt"),
        (RCNN_DCN, "rcnn_dcn_train.txt"),
    ],
)
def test_parameter_count_is_the_listed_graphs(config, listing, spec_folder):
    expected = counted_from_the_graph((spec_folder / "layers" / listing).read_text())
    assert sum(parameter.numel() for parameter in on_meta(config).parameters()) == expected


@pytest.mark.parametrize("config, expected", [(VOC, 50_801_667), (VOC_DCN, 54_007_111)])
def test_parameter_count(config, expected):
    """The same numbers as the test above, for where the listed graphs are not at hand."""
    assert sum(parameter.numel() for parameter in on_meta(config).parameters()) == expected


def test_deformable_configuration_is_deformable_in_the_last_stage_and_the_head():
    network = on_meta(VOC_DCN)
    kinds = {name: type(module) for name, module in network.named_modules()}
    assert [name for name, kind in kinds.items() if kind is DeformConv2d] == [
        f"backbone.stage5.{unit}.conv2" for unit in range(3)
    ]
    assert network.backbone.stage5[0].conv2.offset_groups == 4
    assert [name for name, kind in kinds.items() if kind is DeformPSRoIPool] == [
        f"head.{name}" for name in ("cls_offset_pool", "bbox_offset_pool", "cls_pool", "bbox_pool")
    ]
    assert network.head.cls_pool.arguments["trans_std"] == 0.1
    assert isinstance(on_meta(VOC).head.cls_pool, PSRoIPool)


def test_limits_and_losses_are_the_configurations():
    network = on_meta(COCO_DCN)
    assert (network.train_limits.pre_nms_top_n, network.train_limits.post_nms_top_n) == (6000, 300)
    assert (network.test_limits.nms_thresh, network.test_limits.min_size) == (0.7, 0)
    assert (network.losses.rpn_bbox.grad_scale, network.losses.bbox.grad_scale) == (1 / 256, 1 / 128)
    assert network.hard_rois.rois_per_image == 128
    assert network.rpn.proposal.scales == (4, 8, 16, 32)


@pytest.mark.parametrize("pieces", [["conv1", "bn_conv1", "res2", "bn2", "gamma", "beta"]])
def test_fixed_parameters_are_stem_stage_2_and_every_normalisation(pieces):
    network = on_meta(VOC_DCN)
    fixed = set(fixed_parameters(network, pieces))
    for name, _ in network.named_parameters():
        first = name.startswith(("backbone.stem.", "backbone.stage2."))
        assert (name in fixed) == (first or re.search(r"\bbn\d?\.", name) is not None), name


def test_fixing_a_shared_stage_holds_its_offsets_too():
    network = on_meta(VOC_DCN)
    fixed = fixed_parameters(network, ["res5"])
    assert all(name.startswith("backbone.stage5.") for name in fixed)
    assert "backbone.stage5.1.offset_conv.bias" in fixed
    assert not any(".bn" in name for name in fixed)


def test_unknown_fixed_piece_is_refused():
    with pytest.raises(InputError, match=r"network\.FIXED_PARAMS: expected conv1, .* got 'res6'"):
        fixed_parameters(on_meta(VOC), ["res6"])


def test_initial_weights_are_the_originals():
    torch.manual_seed(0)
    network = build_network(load_config("demo/narrow_rfcn_dcn"))
    for name, tensor in network.state_dict().items():
        if "offset" in name or name.endswith(("bias", "running_mean")):
            assert not tensor.any(), name
        elif tensor.dim() == 1:
            assert (tensor == 1).all(), name
        else:
            expected = math.sqrt(2 / tensor[0].numel()) if name.startswith("backbone.") else 0.01
            assert tensor.std().item() == pytest.approx(
                expected, rel=STANDARD_ERRORS / math.sqrt(2 * tensor.numel())
            ), name
