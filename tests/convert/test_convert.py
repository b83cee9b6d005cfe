"""Conversion renames and loses nothing; whatever does not fit is one sentence per array, and the remedy."""

import ml_dtypes
import numpy as np
import pytest
import torch

from dcn_tasks.config import load_config
from dcn_tasks.errors import InputError
from tests.convert.checkpoints import COCO_DCN, NARROW, OTHERS, VOC, VOC_DCN, empty_like, made_up, narrow
from weights_convert import Params, Sparse, convert_params, load_params, save_params, to_mxnet, to_torch
from weights_convert.arrays import same_bits
from weights_convert.complaints import Misfit
from weights_convert.rules.rule_set import rules_for


def same_params(one: Params, other: Params) -> None:
    assert set(one.arg) == set(other.arg) and set(one.aux) == set(other.aux)
    for name, array in [*one.arg.items(), *one.aux.items()]:
        assert same_bits(array, (other.arg | other.aux)[name]), name


def complaint(params: Params, cfg) -> str:
    with pytest.raises(InputError) as caught:
        convert_params(params, cfg, source="x.params")
    return str(caught.value)


@pytest.mark.parametrize("kind", [*NARROW, *OTHERS])
@pytest.mark.parametrize("test_copies", [True, False])
def test_there_and_back_is_bitwise_for_every_array(kind, test_copies):
    cfg = narrow(kind)
    params = made_up(cfg, test_copies=test_copies)
    same_params(to_mxnet(convert_params(params, cfg).tensors(), cfg), params)


def test_there_and_back_through_a_file_is_bitwise(tmp_path):
    cfg = narrow()
    params = made_up(cfg)
    params.arg["conv1_weight"].view(np.uint32)[0, 0, 0, :4] = [0x7FC12345, 0xFF800000, 0x80000000, 1]  # NaN, -inf, -0
    save_params(tmp_path / "a.params", params)
    back = to_mxnet(convert_params(load_params(tmp_path / "a.params"), cfg).tensors(), cfg)
    same_params(back, params)


@pytest.mark.parametrize("dtype", [np.float16, np.float64, ml_dtypes.bfloat16])
def test_type_of_the_file_is_kept(dtype):
    cfg = narrow("plain")
    params = made_up(cfg)
    params.arg["rfcn_cls_weight"] = params.arg["rfcn_cls_weight"].astype(dtype)
    state = to_torch(params, cfg)
    assert str(state["head.cls_maps.weight"].dtype) == f"torch.{np.dtype(dtype).name}"
    assert same_bits(to_mxnet(state, cfg).arg["rfcn_cls_weight"], params.arg["rfcn_cls_weight"])


def test_inference_takes_the_test_copies_and_training_the_others():
    cfg = narrow()
    params = made_up(cfg)
    for use, suffix in ((True, "_test"), (False, "")):
        state = to_torch(params, cfg, use_test_weights=use)
        for part in ("weight", "bias"):
            expected = params.arg[f"rfcn_bbox_{part}{suffix}"]
            np.testing.assert_array_equal(state[f"head.bbox_maps.{part}"].numpy(), expected)


def test_names_go_where_they_belong():
    cfg = narrow()
    params = made_up(cfg)
    state = to_torch(params, cfg)
    pairs = {
        "conv1_weight": "backbone.stem.conv.weight",
        "bn_conv1_gamma": "backbone.stem.bn.weight",
        "res2a_branch1_weight": "backbone.stage2.0.shortcut.conv.weight",
        "bn2a_branch1_moving_var": "backbone.stage2.0.shortcut.bn.running_var",
        "res5a_branch2b_weight": "backbone.stage5.0.conv2.weight",
        "bn5a_branch2c_beta": "backbone.stage5.0.bn3.bias",
        "bn5a_branch2c_moving_mean": "backbone.stage5.0.bn3.running_mean",
        "res5a_branch2b_offset_bias": "backbone.stage5.0.offset_conv.bias",
        "rpn_conv_3x3_weight": "rpn.conv.weight",
        "rpn_cls_score_bias": "rpn.cls_score.bias",
        "rpn_bbox_pred_weight": "rpn.bbox_pred.weight",
        "conv_new_1_weight": "head.reduce.weight",
        "rfcn_cls_weight": "head.cls_maps.weight",
        "rfcn_cls_offset_t_weight": "head.cls_offset_maps.weight",
        "rfcn_bbox_offset_t_bias": "head.bbox_offset_maps.bias",
    }
    values = params.arg | params.aux
    for mxnet, name in pairs.items():
        np.testing.assert_array_equal(state[name].numpy(), values[mxnet], err_msg=mxnet)


def test_unit_names_of_resnet_101_are_caffes():
    entries = rules_for(load_config(VOC_DCN)).entries
    assert entries["res3b1_branch2a_weight"].torch == "backbone.stage3.1.conv1.weight"
    assert entries["bn4b22_branch2c_gamma"].torch == "backbone.stage4.22.bn3.weight"
    assert entries["res2b_branch2b_weight"].torch == "backbone.stage2.1.conv2.weight"
    assert entries["res5c_branch2b_offset_weight"].shape == (72, 512, 3, 3)


def test_tensors_do_not_share_memory_with_the_file(tmp_path):
    cfg = narrow("plain")
    save_params(tmp_path / "a.params", made_up(cfg))
    params = load_params(tmp_path / "a.params")
    state = to_torch(params, cfg)
    before = params.arg["conv1_weight"].copy()
    state["backbone.stem.conv.weight"].add_(1)
    np.testing.assert_array_equal(params.arg["conv1_weight"], before)


def test_names_without_prefix_are_found(tmp_path):
    cfg = narrow("plain")
    params = made_up(cfg)
    bare = Params(arg=params.arg | params.aux, bare=frozenset(params.arg | params.aux))
    for name, tensor in to_torch(bare, cfg).items():
        assert torch.equal(tensor, to_torch(params, cfg)[name])


def test_sparse_weight_is_made_dense():
    cfg = narrow("plain")
    params = made_up(cfg)
    shape = params.arg["rfcn_cls_bias"].shape
    params.arg["rfcn_cls_bias"] = Sparse("row_sparse", np.ones(2, np.float32), np.array([0, 3]), None, shape)
    bias = to_torch(params, cfg)["head.cls_maps.bias"].numpy()
    assert np.flatnonzero(bias).tolist() == [0, 3]


# --- what does not fit ---------------------------------------------------------------------------------------------


def test_voc_checkpoint_with_a_coco_config_is_recognised_and_the_right_config_named():
    message = complaint(empty_like(load_config(VOC_DCN)), load_config(COCO_DCN))
    assert "rfcn_cls_weight: file has [1029, 1024, 1, 1], the network wants [3969, 1024, 1, 1]" in message
    assert "21 classes there, 81 here" in message
    assert f"the file fits: --config {VOC_DCN}" in message


def test_deformable_checkpoint_with_a_plain_config_names_the_right_one():
    message = complaint(empty_like(load_config(VOC_DCN)), load_config(VOC))
    assert "res5a_branch2b_offset_weight [72, 512, 3, 3]: the network has no place for it" in message
    assert VOC_DCN in message


def test_faster_rcnn_checkpoint_of_other_classes_names_the_network_and_the_right_config():
    folder = "faster_rcnn/resnet_v1_101"
    params = empty_like(load_config(f"{folder}_voc0712_rcnn_dcn_end2end"))
    message = complaint(params, load_config(f"{folder}_coco_trainval_rcnn_dcn_end2end"))
    assert "deformable Faster R-CNN, units 3-4-23-3, 81 classes, 12 anchors" in message
    assert "cls_score_weight: file has [21, 1024], the network wants [81, 1024]: 21 classes there, 81 here" in message
    assert f"the file fits: --config {folder}_voc0712_rcnn_dcn_end2end" in message


def test_faster_rcnn_checkpoint_without_test_copies_says_which_layer_is_normalised():
    cfg = narrow("Faster R-CNN")
    (note,) = convert_params(made_up(cfg, test_copies=False), cfg).notes
    assert note.startswith("no bbox_pred_weight_test and bbox_pred_bias_test in it: bbox_pred is taken as it is")


def test_plain_checkpoint_with_a_deformable_config_names_the_right_one():
    message = complaint(empty_like(load_config(VOC)), load_config(VOC_DCN))
    assert "expected [72, 512, 3, 3], the file does not have it" in message
    assert f"--config {VOC}" in message


def test_missing_array_is_named_with_its_shape():
    params = made_up(narrow())
    shape = list(params.arg.pop("rpn_conv_3x3_weight").shape)
    message = complaint(params, narrow())
    assert f"rpn_conv_3x3_weight: expected {shape}, the file does not have it" in message
    assert "1 arrays differ" in message and "whole checkpoint" in message


def test_missing_statistic_is_named():
    params = made_up(narrow())
    del params.aux["bn_conv1_moving_var"]
    assert "bn_conv1_moving_var" in complaint(params, narrow())


def test_foreign_array_is_named():
    params = made_up(narrow())
    params.arg["se_block_weight"] = np.zeros((3, 4), np.float32)
    assert "se_block_weight [3, 4]: the network has no place for it" in complaint(params, narrow())


def test_statistic_among_the_parameters_is_not_taken():
    params = made_up(narrow())
    params.arg["bn_conv1_moving_var"] = params.aux.pop("bn_conv1_moving_var")
    assert "arg:bn_conv1_moving_var" in complaint(params, narrow())


def test_transposed_weight_is_a_mismatch():
    params = made_up(narrow())
    weight = params.arg["conv_new_1_weight"]
    params.arg["conv_new_1_weight"] = weight.transpose(1, 0, 2, 3)
    got, wanted = [*weight.shape[1::-1], 1, 1], list(weight.shape)
    assert f"conv_new_1_weight: file has {got}, the network wants {wanted}" in complaint(params, narrow())


def test_integer_weight_is_refused():
    params = made_up(narrow())
    params.arg["rpn_conv_3x3_bias"] = params.arg["rpn_conv_3x3_bias"].astype(np.int32)
    assert "rpn_conv_3x3_bias: expected floating point, got int32" in complaint(params, narrow())


def test_half_of_the_test_copies_is_refused():
    params = made_up(narrow())
    del params.arg["rfcn_bbox_bias_test"]
    assert "rfcn_bbox_bias_test: missing, though rfcn_bbox_weight_test is there" in complaint(params, narrow())


def test_arrays_without_names_are_refused():
    assert "without names" in complaint(Params(unnamed=[np.zeros(1, np.float32)]), narrow())


def test_long_lists_of_problems_are_cut():
    message = complaint(Params(arg={"x": np.zeros(1, np.float32)}), load_config(VOC_DCN))
    assert len(message.splitlines()) < 15 and "more of this kind" in message


def test_every_problem_is_kept_for_programs():
    with pytest.raises(Misfit) as caught:
        convert_params(Params(arg={"x": np.zeros(1, np.float32)}), load_config(VOC_DCN))
    assert len(caught.value.problems) == 1 + len(rules_for(load_config(VOC_DCN)).entries)


def test_imagenet_classifier_is_dropped_with_a_reason():
    params = made_up(narrow())
    params.arg["fc1000_weight"] = np.zeros((1000, 64), np.float32)
    converted = convert_params(params, narrow())
    assert "ImageNet classifier" in converted.dropped["fc1000_weight"]
    assert any("fc1000_weight is left out" in note for note in converted.notes)
    assert not any("fc1000" in name for name in converted.state)


@pytest.mark.parametrize("kind", ["plain", "deformable"])
def test_backbone_file_converts_and_lists_what_stays_fresh(kind):
    cfg = narrow(kind)
    rules = rules_for(cfg)
    whole = made_up(cfg, test_copies=False)
    arg = {name: array for name, array in whole.arg.items() if rules.entries[name].in_backbone_file}
    backbone = Params(arg | {"fc1000_bias": np.zeros(1000, np.float32)}, whole.aux)
    converted = convert_params(backbone, cfg)
    assert all(name.startswith("backbone.") for name in converted.state)
    assert set(converted.state) | set(converted.fresh) == set(rules.torch_shapes)
    assert not set(converted.state) & set(converted.fresh)
    assert ("backbone.stage5.0.offset_conv.weight" in converted.fresh) == (kind == "deformable")
    assert "head.cls_maps.weight" in converted.fresh and "keep their initial values" in converted.notes[0]
    same_params(to_mxnet(converted.tensors(), cfg), Params(arg, whole.aux))


def test_backbone_file_with_one_head_array_is_no_backbone_file():
    cfg = narrow()
    rules = rules_for(cfg)
    whole = made_up(cfg, test_copies=False)
    arg = {name: array for name, array in whole.arg.items() if rules.entries[name].in_backbone_file}
    arg["conv_new_1_weight"] = whole.arg["conv_new_1_weight"]
    with pytest.raises(Misfit) as caught:
        convert_params(Params(arg, whole.aux), cfg)
    assert any("conv_new_1_bias: expected" in problem for problem in caught.value.problems)


def test_file_without_test_copies_says_what_that_means():
    notes = convert_params(made_up(narrow(), test_copies=False), narrow()).notes
    assert any("rfcn_bbox_weight_test" in note and "BBOX_STDS" in note for note in notes)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda state: state.pop("rpn.conv.weight"), "rpn.conv.weight"),
        (lambda state: state.update({"foo.weight": torch.zeros(3)}), "foo.weight [3] is no tensor"),
        (lambda state: state.update({"rpn.conv.bias": torch.zeros(3)}), "rpn.conv.bias: expected"),
        (lambda state: state.update({"train/rpn.conv.bias": torch.zeros(3)}), "train/rpn.conv.bias"),
        (lambda state: state.pop("train/head.bbox_maps.bias"), "without its partner"),
    ],
)
def test_way_back_names_what_does_not_fit(change, words):
    cfg = narrow()
    state = convert_params(made_up(cfg), cfg).tensors()
    change(state)
    with pytest.raises(InputError, match="to_mxnet") as caught:
        to_mxnet(state, cfg)
    assert words in str(caught.value)


def test_unknown_deformable_unit_is_refused():
    cfg = load_config("demo/narrow_rfcn_dcn", network__DEFORM_CONV_UNITS=["res9z"])
    with pytest.raises(InputError, match="res9z"):
        rules_for(cfg)
