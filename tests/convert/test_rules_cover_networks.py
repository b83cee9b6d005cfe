"""The rules name every array and every node of both networks, and nothing else, for every shipped configuration."""

import warnings

import pytest
import torch

from dcn_tasks.config import config_names, load_config
from tests.convert.checkpoints import FASTER_RCNN, NARROW, OTHERS, made_up, narrow
from weights_convert import node_map, nodes_without_counterpart, rules_for, to_torch

NETWORKS = {
    name: name
    for name in config_names()
    if name.startswith(
        ("rfcn/resnet", "rfcn/aligned", "faster_rcnn/", "fpn/", "class_aware_rpn/", "deeplab/", "demo/narrow")
    )
}
VARIANTS = {
    "class-aware boxes": {"CLASS_AGNOSTIC": False},
    "one deformable unit": {"network__DEFORM_CONV_UNITS": ["res4a"], "network__NUM_DEFORMABLE_GROUP": 1},
    "deformable pooling only": {"network__DEFORM_CONV_UNITS": [], "network__DEFORM_ROI_POOLING": True},
    "no hard example mining": {"TRAIN__ENABLE_OHEM": False},
    "MXNet's own proposals": {"TRAIN__CXX_PROPOSAL": True, "TEST__CXX_PROPOSAL": True},
    "small bins": {"network__POOLED_SIZE": 3},
    "thirty units": {"network__UNITS": [1, 2, 30, 1]},
}
SPEC_LISTS = {
    "rfcn_train.txt": "rfcn/resnet_v1_101_voc0712_rfcn_end2end_ohem",
    "rfcn_dcn_train.txt": "rfcn/resnet_v1_101_voc0712_rfcn_dcn_end2end_ohem",
    "fpn_train.txt": "fpn/resnet_v1_101_coco_trainval_fpn_end2end_ohem",
    "fpn_dcn_train.txt": "fpn/resnet_v1_101_coco_trainval_fpn_dcn_end2end_ohem",
    "rcnn_train.txt": "faster_rcnn/resnet_v1_101_voc0712_rcnn_end2end",
    "rcnn_dcn_train.txt": "faster_rcnn/resnet_v1_101_voc0712_rcnn_dcn_end2end",
    "dl_train.txt": "deeplab/deeplab_resnet_v1_101_cityscapes_segmentation_base",
    "dl_dcn_train.txt": "deeplab/deeplab_resnet_v1_101_cityscapes_segmentation_dcn",
}
INPUTS = {"data", "im_info", "gt_boxes", "label", "bbox_target", "bbox_weight", "softmax_label"}

INPUT_SHAPES = {"data": (1, 3, 64, 64), "im_info": (1, 3)}


def build_on_meta(cfg):
    from torch_port.models import build_network

    with torch.device("meta"), warnings.catch_warnings():
        return build_network(cfg)


def all_configs():
    yield from ((name, load_config(name)) for name in NETWORKS)
    for name, change in VARIANTS.items():
        for base in (*NARROW.values(), *FASTER_RCNN.values()):
            yield f"{base}, {name}", load_config(base, **change)


CONFIGS = dict(all_configs())


@pytest.mark.parametrize("name", CONFIGS)
def test_torch_side_is_the_networks_state_dict(name):
    network = build_on_meta(CONFIGS[name])
    expected = {key: tuple(tensor.shape) for key, tensor in network.state_dict().items()}
    assert rules_for(CONFIGS[name]).torch_shapes == expected


@pytest.mark.parametrize("kind", [*NARROW, *OTHERS])
def test_converted_tensors_load_strictly(kind):
    from torch_port.models import build_network

    network = build_network(narrow(kind))
    state = to_torch(made_up(narrow(kind)), narrow(kind))
    network.load_state_dict(state, strict=True)
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, state[name]), name


@pytest.mark.parametrize("name", CONFIGS)
def test_every_module_that_computes_has_its_node(name):
    cfg = CONFIGS[name]
    network = build_on_meta(cfg)
    leaves = {path for path, module in network.named_modules() if path and not list(module.children())}
    mapped = set(node_map(cfg, True).values()) | set(node_map(cfg, False).values())
    # a module that is one node in MXNet may have parts: of those, the module itself is mapped
    whole = {leaf: next((path for path in mapped if leaf.startswith(f"{path}.")), leaf) for leaf in leaves}
    assert mapped == set(whole.values())


@pytest.mark.parametrize("is_train", [True, False])
def test_no_two_nodes_claim_one_module(is_train):
    mapped = list(node_map(narrow(), is_train).values())
    assert len(mapped) == len(set(mapped))


def test_every_node_without_counterpart_says_why():
    for is_train in (True, False):
        left = nodes_without_counterpart(narrow(), is_train)
        assert left and all(len(why) > 20 for why in left.values())
        assert not set(left) & set(node_map(narrow(), is_train))


@pytest.mark.parametrize("file", SPEC_LISTS)
def test_every_listed_node_of_the_original_is_accounted_for(spec_folder, file):
    lines = [line.split(" | ") for line in (spec_folder / "layers" / file).read_text().splitlines() if " | " in line]
    listed = {line[1].strip() for line in lines if line[0] not in ("Variable", "Group")}
    listed = {
        name.replace("sub", "_minus").replace("mul", "_mul") if name[:3] in ("sub", "mul") else name for name in listed
    }
    cfg = load_config(SPEC_LISTS[file])
    assert set(node_map(cfg, True)) | set(nodes_without_counterpart(cfg, True)) == listed


def symbol_of(cfg, is_train: bool):
    from mxnet_ref import build_symbol

    return build_symbol(cfg, is_train=is_train)


@pytest.mark.mxnet
@pytest.mark.parametrize("is_train", [True, False])
@pytest.mark.parametrize("name", CONFIGS)
def test_mxnet_side_is_the_graphs_arguments_and_nodes(name, is_train):
    cfg = CONFIGS[name]
    symbol = symbol_of(cfg, is_train)
    rules = rules_for(cfg)
    arguments = set(symbol.list_arguments())
    assert arguments - {entry.mxnet for entry in rules.entries.values()} <= INPUTS
    assert {e.mxnet for e in rules.entries.values() if e.state == "arg"} <= arguments
    assert {e.mxnet for e in rules.entries.values() if e.state == "aux"} == set(symbol.list_auxiliary_states())
    inside = symbol.get_internals()
    variables = arguments | set(symbol.list_auxiliary_states())
    nodes = {inside[place].name for place in range(len(inside.list_outputs()))} - variables
    assert set(node_map(cfg, is_train)) | set(nodes_without_counterpart(cfg, is_train)) == nodes


@pytest.mark.mxnet
@pytest.mark.parametrize("name", CONFIGS)
def test_shapes_are_those_mxnet_infers(name):
    cfg = CONFIGS[name]
    symbol = symbol_of(cfg, False)
    arg_shapes, _, aux_shapes = symbol.infer_shape_partial(
        **{name: shape for name, shape in INPUT_SHAPES.items() if name in symbol.list_arguments()}
    )
    inferred = dict(zip(symbol.list_arguments(), arg_shapes, strict=True))
    inferred |= dict(zip(symbol.list_auxiliary_states(), aux_shapes, strict=True))
    for entry in rules_for(cfg).entries.values():
        assert inferred[entry.mxnet] == entry.shape, entry.mxnet
