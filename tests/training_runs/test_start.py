"""Both frameworks start from the same bits, and a checkpoint of other classes gives what fits."""

import shutil

import numpy as np
import pytest
import torch

from dcn_suite.checkpoints import read_checkpoint
from dcn_suite.training.start import starting_weights
from dcn_tasks.box_scale import normalised, unnormalised
from dcn_tasks.config import load_config
from dcn_tasks.errors import InputError
from tests.training_runs.kills import TINY
from torch_port.models import build_network
from torch_port.training.checkpoint import save_checkpoint
from torch_port.training.sgd import SGD, parameter_groups
from weights_convert import Params, Sparse, rules_for, save_params, save_weights, to_torch

BOXES = ("rfcn_bbox_weight", "rfcn_bbox_bias")


@pytest.fixture
def cfg():
    return load_config("demo/narrow_rfcn_dcn", **TINY, TRAIN__BBOX_MEANS=[0.1, 0.0, 0.2, 0.0])


def random_weights(cfg, seed: int = 5) -> Params:
    params, _ = starting_weights(cfg, seed, None, from_scratch=True)
    rng = np.random.default_rng(seed)
    arg = {name: rng.normal(size=value.shape).astype(np.float32) for name, value in params.arg.items()}
    return Params(arg, params.aux)


def momentum_of(network) -> SGD:
    """An optimiser after one update of nothing."""
    optimizer = SGD(parameter_groups(network, weight_decay=0.0), lr=0.0, momentum=0.9)
    for parameter in network.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    return optimizer


@pytest.mark.mxnet
@pytest.mark.parametrize("name", ["demo/narrow_rfcn_dcn", "demo/narrow_fpn_dcn", "demo/narrow_deeplab_dcn"])
def test_initial_values_are_those_of_the_reference(name):
    import mxnet_ref

    narrow = load_config(name)
    arg, aux = mxnet_ref.init_params(narrow, seed=3)
    ours, notes = starting_weights(narrow, 3, None, from_scratch=False)
    assert notes == ["every layer begins with random values"]
    for found, expected in ((ours.arg, arg), (ours.aux, aux)):
        assert found.keys() == expected.keys()
        assert all((found[key] == expected[key]).all() for key in expected)


def test_a_training_goes_on_from_normalised_boxes_of_every_kind_of_file(cfg, tmp_path):
    trained = random_weights(cfg)
    copies = {f"{name}_test": unnormalised(trained.arg[name], cfg) for name in BOXES}
    save_params(tmp_path / "net.params", Params({**trained.arg, **copies}, trained.aux))
    plain = to_torch(Params({**trained.arg, **{n: copies[f"{n}_test"] for n in BOXES}}, trained.aux), cfg)
    save_weights(tmp_path / "net.safetensors", plain, {})
    for name in ("net.params", "net.safetensors"):
        found, _ = starting_weights(cfg, 0, tmp_path / name, from_scratch=False)
        for key, value in trained.arg.items():
            np.testing.assert_allclose(found.arg[key], value, rtol=1e-5, atol=1e-6, err_msg=f"{name} {key}")


def test_an_epoch_of_a_training_is_read_for_detection(cfg, tmp_path):
    trained = to_torch(random_weights(cfg), cfg)
    network = build_network(cfg)
    network.load_state_dict({name: torch.as_tensor(value) for name, value in trained.items()})
    save_checkpoint(tmp_path / "model-0001.safetensors", network, momentum_of(network), step=3, config={})
    found = read_checkpoint(tmp_path / "model-0001.safetensors", cfg).state
    assert found.keys() == trained.keys()
    boxes = [name for name in trained if (np.asarray(found[name]) != np.asarray(trained[name])).any()]
    assert len(boxes) == len(BOXES)
    for name in boxes:
        np.testing.assert_array_equal(np.asarray(found[name]), unnormalised(np.asarray(trained[name]), cfg))


def test_without_precomputed_normalisation_boxes_stay_as_they_were_trained(cfg):
    raw = load_config(cfg, TRAIN__BBOX_NORMALIZATION_PRECOMPUTED=False)
    weight = np.ones((18 * 4, 3), np.float32)
    np.testing.assert_array_equal(unnormalised(weight, raw), weight)
    assert (unnormalised(weight, cfg) != weight).any()


def test_classes_that_are_others_begin_anew_and_the_rest_is_taken(cfg, tmp_path):
    trained = random_weights(cfg)
    save_params(tmp_path / "net.params", trained)
    other = load_config(cfg, dataset__NUM_CLASSES=3, dataset__CLASS_NAMES=["disc", "star"])
    found, notes = starting_weights(other, 0, tmp_path / "net.params", from_scratch=False)
    assert "rfcn_cls, rfcn_cls_offset_t begin with initial values" in notes[1]
    assert found.arg["rfcn_cls_weight"].shape[0] == 3 * 9 and abs(found.arg["rfcn_cls_weight"]).max() < 0.1
    for name in ("res5a_branch2b_weight", "rpn_conv_3x3_weight", "rfcn_bbox_weight"):
        assert (found.arg[name] == trained.arg[name]).all()


def test_boxes_without_test_copies_are_told_to_be_taken_as_trained(cfg, tmp_path):
    trained = random_weights(cfg)
    save_params(tmp_path / "net.params", trained)
    shutil.copy(tmp_path / "net.params", tmp_path / "net.bin")
    for name in ("net.params", "net.bin"):
        found, notes = starting_weights(cfg, 0, tmp_path / name, from_scratch=False)
        assert "rfcn_bbox_weight and rfcn_bbox_bias are taken as a training leaves them" in notes[-1]
    assert (found.arg["rfcn_bbox_weight"] == trained.arg["rfcn_bbox_weight"]).all()
    copies = {f"{name}_test": unnormalised(trained.arg[name], cfg) for name in BOXES}
    save_params(tmp_path / "both.params", Params({**trained.arg, **copies}, trained.aux))
    unscaled = load_config(cfg, TRAIN__BBOX_NORMALIZATION_PRECOMPUTED=False)
    for its, name in ((cfg, "both.params"), (unscaled, "net.params")):
        _, notes = starting_weights(its, 0, tmp_path / name, from_scratch=False)
        assert not any("taken as a training" in note for note in notes)


def test_another_backbone_is_refused_with_the_array_that_does_not_fit(cfg, tmp_path):
    save_params(tmp_path / "net.params", random_weights(load_config(cfg, network__BASE_WIDTH=16)))
    with pytest.raises(InputError, match=r"conv1_weight: expected \[8, 3, 7, 7\], got \[16, 3, 7, 7\]"):
        starting_weights(cfg, 0, tmp_path / "net.params", from_scratch=False)


def test_a_missing_backbone_says_what_to_do():
    with pytest.raises(InputError, match=r"put it there .* or give dcn train --weights FILE or --from-scratch"):
        starting_weights(load_config("rfcn/resnet_v1_101_voc0712_rfcn_end2end_ohem"), 0, None, from_scratch=False)


def test_normalising_undoes_unnormalising(cfg):
    params = random_weights(cfg)
    for name in BOXES:
        np.testing.assert_allclose(
            normalised(unnormalised(params.arg[name], cfg), cfg), params.arg[name], rtol=1e-5, atol=1e-6
        )


def test_a_sparse_array_that_the_network_lacks_is_never_made_dense(cfg, tmp_path):
    """A few bytes that stand for 16 TB, and a small one that fits."""
    params = random_weights(cfg)
    path = tmp_path / "net-0001.params"
    bias = params.arg["rpn_cls_score_bias"]
    rows = Sparse("row_sparse", bias[:1], np.arange(1), None, bias.shape)
    huge = Sparse("row_sparse", np.ones((1, 4), np.float32), np.zeros(1, np.int64), None, (2**40, 4))
    save_params(
        path, Params({**params.arg, "rpn_cls_score_bias": rows, "other": huge, "fc1000_weight": huge}, params.aux)
    )
    start, _ = starting_weights(cfg, 0, path, from_scratch=False)
    np.testing.assert_array_equal(start.arg["rpn_cls_score_bias"], [bias[0], *np.zeros(len(bias) - 1)])


def test_weights_that_are_not_finite_are_refused_before_a_framework_meets_them(cfg, tmp_path):
    """MXNet ends the process by a segmentation fault on offsets that are no numbers."""
    params = random_weights(cfg)
    params.arg["rfcn_cls_offset_t_bias"][0] = np.nan
    save_params(tmp_path / "net.params", params)
    with pytest.raises(InputError, match=r"net\.params: rfcn_cls_offset_t_bias: expected finite numbers"):
        starting_weights(cfg, 0, tmp_path / "net.params", from_scratch=False)
    with pytest.raises(InputError, match=r"net\.params: rfcn_cls_offset_t_bias: expected finite numbers"):
        read_checkpoint(tmp_path / "net.params", cfg).mxnet_arrays(cfg)


@pytest.mark.parametrize("shape", [(7,), ()])
def test_box_regression_of_another_shape_is_a_sentence_and_never_scaled(cfg, tmp_path, shape):
    state = to_torch(random_weights(cfg), cfg)
    bias = rules_for(cfg).entries["rfcn_bbox_bias"].torch
    for prefix in ("weights/", ""):
        save_weights(
            tmp_path / "net.safetensors", {prefix + n: t for n, t in {**state, bias: torch.zeros(shape)}.items()}, {}
        )
        with pytest.raises(InputError, match=rf"net\.safetensors: {bias}: expected \[72\], got "):
            read_checkpoint(tmp_path / "net.safetensors", cfg)
        start, notes = starting_weights(cfg, 0, tmp_path / "net.safetensors", from_scratch=False)
        assert start.arg["rfcn_bbox_bias"].shape == (72,) and "rfcn_bbox begin with initial values" in notes[1]
