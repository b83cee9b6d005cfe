"""Every row of the paper's tables is a configuration: its network builds in both frameworks and converts both ways."""

import warnings

import pytest
import torch

from dcn_tasks.config import config_names, load_config
from dcn_tasks.network import NetworkSpec
from tests.convert.checkpoints import made_up
from weights_convert import rules_for, to_mxnet, to_torch

# ResNet-101's units, an eighth as wide
NARROW = {"network__BASE_WIDTH": 8, "network__HEAD_WIDTH": 8, "network__FC_WIDTH": 8, "network__RPN_WIDTH": 8}
SYSTEMS = ("deeplab-voc", "deeplab-cityscapes", "class-aware-rpn", "faster-rcnn", "rfcn")
POOLING = ("faster-rcnn", "rfcn")  # systems that pool RoIs
RES5 = ["res5a", "res5b", "res5c"]
LAYERS = {0: [], 1: RES5[2:], 2: RES5[1:], 3: RES5, 6: ["res4b20", "res4b21", "res4b22", *RES5]}
ROWS: dict[
    str, tuple[list[str], bool, int]
] = {  # configuration: deformable units, deformable pooling, dilation of res5
    **{f"paper/ablation-layers/{name}-{n}": (units, False, 2) for name in SYSTEMS for n, units in LAYERS.items()},
    **{f"paper/dilation/{name}-{dilation}": ([], False, dilation) for name in SYSTEMS for dilation in (2, 4, 6, 8)},
    **{f"paper/dilation/{name}-deformable": (RES5, False, 2) for name in SYSTEMS},
    **{f"paper/dilation/{name}-roi-pooling": ([], True, 2) for name in POOLING},
    **{f"paper/dilation/{name}-both": (RES5, True, 2) for name in POOLING},
}
LAST_THREE = ["res5c_branch2b", "res5c_branch3b", "res5c_branch3c"]  # 3x3 convolutions of Aligned-Inception-ResNet
COCO = {
    "class-aware-rpn": ([], RES5, False),
    "faster-rcnn": ([], RES5, True),
    "rfcn": ([], RES5, True),
    **{name: ([], LAST_THREE, True) for name in ("faster-rcnn-air", "rfcn-air", "rfcn-air-m", "rfcn-air-mb")},
}
for name, (plain, deformable, pooling) in COCO.items():
    ROWS |= {f"paper/coco/{name}": (plain, False, 2), f"paper/coco/{name}-dcn": (deformable, pooling, 2)}
for name in SYSTEMS:
    ROWS |= {f"paper/complexity/{name}": ([], False, 2), f"paper/complexity/{name}-dcn": (RES5, name in POOLING, 2)}
SAME = ("-2", "-deformable", "-m", "-m-dcn", "-mb", "-mb-dcn")  # rows whose network is another row's
NETWORKS = [row for row in ROWS if not (row.startswith("paper/dilation") and row.endswith(SAME[:2]))]
NETWORKS = [row for row in NETWORKS if not row.startswith("paper/complexity") or "class-aware" in row]
NETWORKS = [row for row in NETWORKS if not (row.startswith("paper/coco") and row.endswith(SAME[2:]))]


def narrow(row: str):
    """A layer that the row has not stays away."""
    has_rpn_conv = NetworkSpec.from_config(load_config(row)).rpn_width > 0
    return load_config(row, **NARROW | ({} if has_rpn_conv else {"network__RPN_WIDTH": 0}))


def test_there_is_a_configuration_for_every_row_and_no_other():
    assert set(ROWS) == {name for name in config_names() if name.startswith("paper/")}


@pytest.mark.parametrize("row", ROWS)
def test_row_is_the_papers_network_with_the_papers_result(row):
    cfg = load_config(row)
    spec = NetworkSpec.from_config(cfg)
    units, pooling, dilation = ROWS[row]
    convolutions = [unit if "branch" in unit else f"{unit}_branch2b" for unit in units]
    assert list(spec.deformable_convolutions) == convolutions
    assert (spec.deform_roi_pooling, spec.res5_dilation, spec.num_deformable_group) == (pooling, dilation, 1)
    assert not units or (spec.dilation_of_offsets(5), spec.dilation_of_offsets(4)) == (dilation, 1)
    assert cfg.TRAIN.lr * len(cfg.gpus.split(",")) == pytest.approx(1e-3)
    assert "of the paper" in cfg.expected.source and len(cfg.expected) >= 2


@pytest.mark.parametrize(
    ("row", "values"),
    [
        ("ablation-layers/deeplab-voc-0", {"mIoU": 69.7}),
        ("ablation-layers/deeplab-cityscapes-6", {"mIoU": 75.1}),
        ("ablation-layers/class-aware-rpn-1", {"mAP@0.5": 73.5, "mAP@0.7": 54.4}),
        ("ablation-layers/faster-rcnn-2", {"mAP@0.5": 78.5, "mAP@0.7": 63.3}),
        ("ablation-layers/rfcn-6", {"mAP@0.5": 81.5, "mAP@0.7": 65.4}),
        ("dilation/deeplab-voc-deformable", {"mIoU": 75.3}),
        ("dilation/class-aware-rpn-8", {"mAP@0.5": 73.2, "mAP@0.7": 55.1}),
        ("dilation/faster-rcnn-roi-pooling", {"mAP@0.5": 78.3, "mAP@0.7": 66.6}),
        ("dilation/rfcn-both", {"mAP@0.5": 82.6, "mAP@0.7": 68.5}),
        ("coco/faster-rcnn-air", {"mAP": 30.8, "mAP@0.5": 49.6, "mAP_small": 9.6}),
        ("coco/rfcn-air-m-dcn", {"mAP": 37.1, "mAP_medium": 39.7}),
        ("coco/rfcn-air-mb", {"mAP": 35.5, "mAP_large": 49.3}),
    ],
)
def test_results_are_those_of_the_tables(row, values):
    found = load_config(f"paper/{row}").expected
    assert {key: found[key] for key in values} == values


def test_m_looks_at_the_papers_six_scales_and_b_averages():
    from dcn_tasks.looks import PAPER_SCALES

    for suffix in ("", "-dcn"):
        plain, m, mb = (load_config(f"paper/coco/rfcn-air{kind}{suffix}") for kind in ("", "-m", "-mb"))
        assert [list(pair) for pair in m.TEST_SCALES] == PAPER_SCALES and m.TEST_SCALES == mb.TEST_SCALES
        assert not plain.TEST_SCALES and (m.TEST.BOX_AVERAGE, mb.TEST.BOX_AVERAGE) == (False, True)


@pytest.mark.parametrize("row", NETWORKS)
def test_torch_network_takes_the_converted_arrays_and_gives_them_back(row):
    from torch_port.models import build_network

    cfg = narrow(row)
    params = made_up(cfg, test_copies=False)
    with warnings.catch_warnings(), torch.device("meta"):
        built = build_network(cfg)
    state = to_torch(params, cfg)
    assert {name: tensor.shape for name, tensor in built.state_dict().items()} == {n: t.shape for n, t in state.items()}
    back = to_mxnet(state, cfg)
    assert back.arg.keys() == params.arg.keys() and back.aux.keys() == params.aux.keys()
    assert all((back.arg[name] == params.arg[name]).all() for name in params.arg)


@pytest.mark.mxnet
@pytest.mark.parametrize("row", NETWORKS)
def test_mxnet_graph_has_the_rows_layers_and_the_rules_arrays(row):
    import mxnet_ref

    cfg = narrow(row)
    spec = NetworkSpec.from_config(cfg)
    _, pooling, dilation = ROWS[row]
    lines = mxnet_ref.trace(mxnet_ref.build_symbol(cfg, True))
    convolutions = [line.split(" | ")[1] for line in lines if line.startswith("DeformableConvolution")]
    assert convolutions == list(spec.deformable_convolutions)
    moved = [line for line in lines if line.startswith("DeformablePSROIPooling") and "no_trans=False" in line]
    assert len(moved) == (0 if not pooling else 2 if spec.family == "rfcn" else 1)
    (middle,) = [line for line in lines if " | res5b_branch2b | " in line]
    assert f"dilate=({dilation}, {dilation})" in middle and f"pad=({dilation}, {dilation})" in middle
    for offset in (line for line in lines if "branch2b_offset | " in line and line.startswith("Convolution")):
        reach = 2 if "| res5" in offset else 1
        assert f"pad=({reach}, {reach})" in offset
    symbol = mxnet_ref.build_symbol(cfg, False)
    inputs = {"data": (1, 3, 64, 64), "im_info": (1, 3), "softmax_label": (1, 1, 64, 64)}
    asked = symbol.list_arguments()
    shapes, _, states = symbol.infer_shape(**{key: shape for key, shape in inputs.items() if key in asked})
    inferred = dict(zip(asked, shapes, strict=True))
    inferred |= dict(zip(symbol.list_auxiliary_states(), states, strict=True))
    assert {entry.mxnet: entry.shape for entry in rules_for(cfg).entries.values()} == {
        name: shape for name, shape in inferred.items() if name not in inputs
    }


@pytest.mark.parametrize("system", ["rfcn", "deeplab-voc"])
def test_offsets_in_stage_4_are_predicted_without_dilation_and_in_stage_5_with_the_stages(system):
    from torch_port.models import build_network

    with torch.device("meta"):
        network = build_network(narrow(f"paper/ablation-layers/{system}-6"))
    assert network.backbone.stage4[22].offset_conv.dilation == network.backbone.stage4[22].conv2.dilation == (1, 1)
    assert network.backbone.stage5[2].offset_conv.dilation == network.backbone.stage5[2].conv2.dilation == (2, 2)
