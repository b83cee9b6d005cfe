"""The training graphs are the original's, node by node."""

import re
from pathlib import Path

import pytest

pytestmark = pytest.mark.mxnet
TRACES = Path(__file__).parent / "traces"
GRAPHS = {
    "rfcn_train": "rfcn/resnet_v1_101_voc0712_rfcn_end2end_ohem",
    "rfcn_dcn_train": "rfcn/resnet_v1_101_voc0712_rfcn_dcn_end2end_ohem",
}


def normalised(line: str) -> str:
    """A line of the given lists under the rules of `mxnet_ref.trace`: attributes sorted, `cfg` left out."""
    op, name, inputs, attrs = ([part.strip() for part in line.split("|")] + [""] * 4)[:4]
    pairs = [pair for pair in re.split(r", (?=\w+=)", attrs) if pair and not pair.startswith("cfg=")]
    return f"{op} | {name} | {inputs} | {', '.join(sorted(pairs))}".rstrip()


def operators(path: Path) -> set[str]:
    lines = path.read_text().splitlines()
    return {normalised(line) for line in lines if line and not line.startswith(("Variable", "Group"))}


@pytest.fixture
def build():
    import mxnet_ref

    return lambda config, is_train, **more: mxnet_ref.trace(mxnet_ref.build_symbol(config, is_train, **more))


@pytest.mark.parametrize("name", GRAPHS)
def test_training_graph_equals_the_committed_trace(build, name):
    assert set(build(GRAPHS[name], True)) == set((TRACES / f"{name}.txt").read_text().splitlines())


@pytest.mark.parametrize("name", GRAPHS)
def test_training_graph_equals_the_original(build, spec_folder, name):
    lines = build(GRAPHS[name], True)
    assert set(lines) == operators(spec_folder / "layers" / f"{name}.txt")
    assert len(lines) == len(set(lines))


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
