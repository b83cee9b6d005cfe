"""The training graphs are the original's, node by node."""

import re
from pathlib import Path

import pytest

pytestmark = pytest.mark.mxnet
TRACES = Path(__file__).parent / "traces"
GRAPHS = {
    "rfcn_train": "rfcn/resnet_v1_101_voc0712_rfcn_end2end_ohem",
    "rfcn_dcn_train": "rfcn/resnet_v1_101_voc0712_rfcn_dcn_end2end_ohem",
    "rcnn_train": "faster_rcnn/resnet_v1_101_voc0712_rcnn_end2end",
    "rcnn_dcn_train": "faster_rcnn/resnet_v1_101_voc0712_rcnn_dcn_end2end",
    "fpn_train": "fpn/resnet_v1_101_coco_trainval_fpn_end2end_ohem",
    "fpn_dcn_train": "fpn/resnet_v1_101_coco_trainval_fpn_dcn_end2end_ohem",
    "dl_train": "deeplab/deeplab_resnet_v1_101_cityscapes_segmentation_base",
    "dl_dcn_train": "deeplab/deeplab_resnet_v1_101_cityscapes_segmentation_dcn",
}


def normalised(line: str) -> str:
    """A line of the given lists under the rules of `mxnet_ref.trace`: attributes sorted, `cfg` left out, `attr` opened."""
    line = re.sub(r"attr=\{'(\w+)': '([\d.]+)'\}", r"\1=\2", line)
    op, name, inputs, attrs = ([part.strip() for part in line.split("|")] + [""] * 4)[:4]
    pairs = [pair for pair in re.split(r", (?=\w+=)", attrs) if pair and not pair.startswith("cfg=")]
    return f"{op} | {name} | {inputs} | {', '.join(sorted(pairs))}".rstrip()


def operators(path: Path) -> list[str]:
    lines = path.read_text().splitlines()
    return [normalised(line) for line in lines if line and not line.startswith(("Variable", "Group"))]


@pytest.fixture
def build():
    import mxnet_ref

    return lambda config, is_train, **more: mxnet_ref.trace(mxnet_ref.build_symbol(config, is_train, **more))


@pytest.mark.parametrize("name", GRAPHS)
def test_training_graph_equals_the_committed_trace(build, name):
    assert build(GRAPHS[name], True) == (TRACES / f"{name}.txt").read_text().splitlines()


@pytest.mark.parametrize("name", GRAPHS)
def test_test_graph_equals_the_committed_trace(build, name):
    trace = TRACES / f"{name.replace('train', 'test')}.txt"
    assert build(GRAPHS[name], False) == trace.read_text().splitlines()


@pytest.mark.parametrize("name", GRAPHS)
def test_training_graph_equals_the_original(build, spec_folder, name):
    assert build(GRAPHS[name], True) == operators(spec_folder / "layers" / f"{name}.txt")


def multipliers(path: Path) -> dict[str, float]:
    """Learning-rate multipliers other than 1 that the given lists' lines name, of Variables and of nodes' parameters."""
    found = {}
    for line in path.read_text().splitlines():
        op, name, _, attrs = ([part.strip() for part in line.split("|")] + [""] * 4)[:4]
        given = re.search(r"lr_mult(?:': '|=)([\d.]+)", attrs)
        if given and op == "Variable":
            found[name] = float(given[1])
        elif given:
            parts = ("weight",) if "no_bias=True" in attrs else ("weight", "bias")
            found |= {f"{name}_{part}": float(given[1]) for part in parts}
    return {name: value for name, value in found.items() if value != 1}


@pytest.mark.parametrize("name", GRAPHS)
def test_learning_rate_multipliers_are_the_originals(spec_folder, name):
    import mxnet_ref

    ours = mxnet_ref.learning_rate_multipliers(mxnet_ref.build_symbol(GRAPHS[name], True))
    assert ours == multipliers(spec_folder / "layers" / f"{name}.txt")


def test_a_graph_read_from_a_file_has_the_same_nodes_in_topological_order(build):
    import mxnet as mx

    import mxnet_ref

    symbol = mxnet_ref.build_symbol(GRAPHS["rfcn_dcn_train"], True)
    lines = mxnet_ref.trace(mx.sym.load_json(symbol.tojson()))
    assert sorted(lines) == sorted(mxnet_ref.trace(symbol))
    assert lines != mxnet_ref.trace(symbol)
    names = [line.split(" | ")[1] for line in lines]
    for line in lines:
        for source in re.findall(r"=([\w.]+)", line.split(" | ")[2]):
            assert source not in names or names.index(source) < names.index(line.split(" | ")[1])


def test_building_twice_counts_automatic_names_from_zero(build):
    first, second = (build(GRAPHS["rfcn_dcn_train"], True) for _ in range(2))
    assert first == second
    assert any(line.startswith("_sub | sub0 |") for line in first)


def test_the_test_graph_has_no_labels_and_three_outputs():
    import mxnet_ref

    symbol = mxnet_ref.build_symbol(GRAPHS["rfcn_dcn_train"], False)
    inputs = [name for name in symbol.list_arguments() if not name.endswith(("weight", "bias", "gamma", "beta"))]
    assert inputs == ["data", "im_info"]
    assert symbol.list_outputs() == ["rois_output", "cls_prob_reshape_output", "bbox_pred_reshape_output"]


def test_training_outputs_are_named_as_in_the_original():
    import mxnet_ref

    assert mxnet_ref.build_symbol(GRAPHS["rfcn_train"], True).list_outputs() == [
        "rpn_cls_prob_output",
        "rpn_bbox_loss_output",
        "cls_prob_reshape_output",
        "bbox_loss_reshape_output",
        "blockgrad0_output",
    ]


def test_variants_are_arguments(build):
    lines = build(GRAPHS["rfcn_train"], True, network__UNITS=[3, 4, 6, 3], network__DEFORM_CONV_UNITS=["res4f"])
    assert sum(line.startswith("DeformableConvolution") for line in lines) == 1
    assert any(line.startswith("DeformableConvolution | res4f_branch2b |") for line in lines)
    assert not any("res4b1_" in line for line in lines)


@pytest.mark.parametrize(
    ("name", "outputs", "line"),
    [
        (
            "deform_conv_demo",
            ["res5a_branch2b_offset_output", "res5b_branch2b_offset_output", "res5c_branch2b_offset_output"],
            "Convolution | res5c_branch2b_offset | data=res5c_branch2a_relu | cudnn_off=True, kernel=(3, 3), "
            "num_filter=18, pad=(1, 1), stride=(1, 1)",
        ),
        (
            "deform_psroi_demo",
            ["rfcn_cls_offset_output"],
            "DeformablePSROIPooling | rfcn_bbox_offset | data=rfcn_bbox_offset_t, rois=rois | group_size=3, no_trans=True, "
            "output_dim=2, part_size=3, pooled_size=3, sample_per_part=4, spatial_scale=0.0625",
        ),
    ],
)
def test_demo_graphs_hand_out_the_offsets_they_draw(name, outputs, line):
    import mxnet_ref

    symbol = mxnet_ref.build_symbol(f"rfcn/{name}", False)
    assert symbol.list_outputs()[: len(outputs)] == outputs
    assert symbol.list_outputs()[len(outputs) :] == [
        "rois_output",
        "cls_prob_reshape_output",
        "bbox_pred_reshape_output",
    ]
    assert line in mxnet_ref.trace(symbol)


def test_without_hard_example_mining_no_label_is_ignored(build):
    lines = build(GRAPHS["rfcn_train"], True, TRAIN__ENABLE_OHEM=False, TRAIN__BATCH_ROIS=128)
    assert "SoftmaxOutput | cls_prob | data=cls_score_reshape, label=custom0[1] | normalization=valid" in lines
    assert any(line.startswith("MakeLoss | bbox_loss |") and line.endswith("grad_scale=0.0078125") for line in lines)


@pytest.mark.parametrize("is_train", [True, False])
def test_cxx_proposal_takes_the_python_operators_place(build, is_train):
    lines = build(GRAPHS["rfcn_train"], is_train, TRAIN__CXX_PROPOSAL=True, TEST__CXX_PROPOSAL=True)
    (line,) = [line for line in lines if " | rois | " in line]
    assert line.startswith("Proposal | rois | cls_prob=")
    assert "feature_stride=16" in line and "rpn_pre_nms_top_n=6000" in line


def test_float64_graph_differs_in_its_softmax_only(build):
    for is_train in (True, False):
        plain, wide = build(GRAPHS["rfcn_train"], is_train), build(GRAPHS["rfcn_train"], is_train, dtype="float64")
        changed = [(old, new) for old, new in zip(plain, wide, strict=True) if old != new]
        assert len(changed) == (1 if is_train else 2)
        for old, new in changed:
            assert old.startswith("SoftmaxActivation |") and new.startswith("softmax |") and new.endswith("axis=1")


def test_unknown_override_is_refused_with_the_nearest_key(build):
    from dcn_tasks.errors import InputError

    with pytest.raises(InputError, match="POOLED_SIZE"):
        build(GRAPHS["rfcn_train"], True, network__POOLED_SIZES=3)
