"""Calibrated networks behave like trained ones; the detector is the test graph plus dcn_tasks' decoding."""

import numpy as np
import pytest
from tiny_network import photo, tiny
from tolerances import FLOAT32_NETWORK

from dcn_tasks.errors import InputError

pytestmark = pytest.mark.mxnet


@pytest.fixture(scope="module")
def cfg():
    return tiny()


@pytest.fixture(scope="module")
def calibrated(cfg):
    from mxnet_ref import calibrated_init

    return calibrated_init(cfg, photo(), seed=0)


@pytest.fixture(scope="module")
def detector(cfg, calibrated):
    from mxnet_ref import Detector, detection_weights, with_test_copies

    arg, aux = calibrated
    return Detector(cfg, detection_weights(with_test_copies(arg, cfg)), aux)


def nodes_of(cfg, calibrated, names: list[str]) -> dict[str, np.ndarray]:
    from dcn_tasks.images import to_network_input
    from mxnet_ref import build_symbol
    from mxnet_ref.executor import outputs_of

    data, im_info = to_network_input(photo(), cfg)
    return outputs_of(build_symbol(cfg, False), names, *calibrated, {"data": data, "im_info": im_info})


def test_calibrated_layers_have_the_spreads_asked_for(cfg, calibrated):
    wanted = {"rpn_cls_score": 2, "cls_score_reshape": 2, "rfcn_cls_offset": 1, "rfcn_bbox_offset": 1}
    wanted["res5a_branch2b_offset"] = 1.5
    found = nodes_of(cfg, calibrated, list(wanted))
    for name, std in wanted.items():
        assert found[name].std() == pytest.approx(std, rel=0.05), name


def test_calibrated_activations_are_those_of_a_trained_network(cfg, calibrated):
    names = ["conv1_relu", "res2a_relu", "res3a_relu", "res4a_relu", "res5a_relu", "relu1"]
    for name, value in nodes_of(cfg, calibrated, names).items():
        assert 0.2 < value.std() < 2 and value.max() < 30, name
        assert 0.1 < (value == 0).mean() < 0.9, f"{name}: its ReLUs both pass and block"


def test_normalisations_hold_the_statistics_of_their_input(cfg, calibrated):
    _, aux = calibrated
    value = nodes_of(cfg, calibrated, ["res3a_branch2a"])["res3a_branch2a"].astype(np.float64)
    assert np.allclose(aux["bn3a_branch2a_moving_mean"], value.mean(axis=(0, 2, 3)), rtol=0.02, atol=0.02)
    assert np.allclose(aux["bn3a_branch2a_moving_var"], value.var(axis=(0, 2, 3)), rtol=0.05, atol=0.02)


def test_too_few_detections_are_an_error_not_a_weak_test(cfg):
    from mxnet_ref import calibrated_init

    with pytest.raises(RuntimeError, match="expected 1000 detections"):
        calibrated_init(cfg, photo(), seed=0, min_detections=1000)


def test_detections_are_decoded_from_the_raw_outputs(cfg, detector):
    from dcn_tasks.detections import detections

    found, raw = detector(photo())
    assert raw.rois.shape == (12, 5) and raw.cls_prob.shape == (12, 5) and raw.bbox_pred.shape == (12, 8)
    assert np.allclose(raw.cls_prob.sum(axis=1), 1, atol=1e-5)
    again = detections(
        raw.rois, raw.cls_prob, raw.bbox_pred, raw.inputs["im_info"],
        class_agnostic=True, score_thresh=1e-3, nms_thresh=cfg.TEST.NMS, max_per_image=cfg.TEST.max_per_image,
    )  # fmt: skip
    assert len(found) >= 5
    assert (found.boxes == again.boxes).all() and (found.scores == again.scores).all()
    height, width = photo().shape[:2]
    assert found.boxes.min() >= 0 and found.boxes[:, 2].max() <= width - 1 and found.boxes[:, 3].max() <= height - 1


def test_normalised_box_weights_would_detect_other_boxes(cfg, calibrated, detector):
    from mxnet_ref import Detector

    normalised = Detector(cfg, *calibrated).outputs(photo())
    right = detector.outputs(photo())
    stds = np.tile([0.1, 0.1, 0.2, 0.2], 2)
    assert np.allclose(normalised.bbox_pred * stds, right.bbox_pred, rtol=1e-4, atol=1e-5)


def test_images_of_several_sizes_take_turns(detector):
    small = photo()
    large = np.ascontiguousarray(np.tile(small, (2, 1, 1)))
    first = detector.outputs(small)
    other = detector.outputs(large)
    again = detector.outputs(small)
    assert other.inputs["data"].shape != first.inputs["data"].shape
    assert (first.rois == again.rois).all() and (first.cls_prob == again.cls_prob).all()


def test_float64_network_computes_the_same_function(cfg, calibrated, detector):
    from mxnet_ref import build_symbol
    from mxnet_ref.executor import outputs_of

    inputs = detector.outputs(photo()).inputs
    names = ["res5a_relu", "rpn_cls_prob_reshape", "rfcn_cls"]
    narrow = outputs_of(build_symbol(cfg, False), names, *calibrated, inputs)
    wide = outputs_of(build_symbol(cfg, False, dtype="float64"), names, *calibrated, inputs, dtype="float64")
    for name in names:
        assert wide[name].dtype == np.float64
        difference = np.abs(narrow[name] - wide[name]).max() / np.abs(wide[name]).max()
        assert 0 < difference < FLOAT32_NETWORK, name


def test_float64_training_graph_runs_and_gives_gradients(cfg, calibrated):
    import mxnet as mx
    from test_reference_training import batches

    from mxnet_ref import build_symbol
    from mxnet_ref.executor import bind, run

    (batch,) = batches(cfg, 1)
    symbol = build_symbol(cfg, True, dtype="float64")
    wanted = ["rfcn_cls_weight", "res5a_branch2b_offset_weight", "conv1_weight"]
    executor = bind(symbol, *calibrated, batch, dtype="float64", gradients=wanted)
    outputs = run(executor, is_train=True)
    executor.backward([mx.nd.ones(output.shape, dtype="float64") for output in outputs])
    for name in wanted:
        gradient = executor.grad_dict[name].asnumpy()
        assert gradient.dtype == np.float64 and np.isfinite(gradient).all() and gradient.any()


def test_a_missing_parameter_is_named(cfg, calibrated):
    from mxnet_ref import Detector

    arg = {name: value for name, value in calibrated[0].items() if name != "rfcn_cls_bias"}
    with pytest.raises(InputError, match="rfcn_cls_bias"):
        Detector(cfg, arg, calibrated[1])(photo())


def test_a_node_that_is_not_there_is_named(cfg, calibrated):
    with pytest.raises(InputError, match="res9z_relu"):
        nodes_of(cfg, calibrated, ["res9z_relu"])


def test_versions_say_what_a_recording_depends_on():
    from mxnet_ref import versions

    found = versions()
    assert found["mxnet"].startswith("1.9") and found["numpy"] == np.__version__


@pytest.mark.slow
@pytest.mark.parametrize("name", ["rfcn", "rfcn_dcn"])
def test_calibration_of_the_original_networks_is_lively_enough(name):
    from dcn_tasks.config import load_config
    from dcn_tasks.scenes import photographs
    from mxnet_ref import Detector, calibrated_init, detection_weights, with_test_copies

    cfg = load_config(f"rfcn/resnet_v1_101_voc0712_{name}_end2end_ohem", SCALES=[320, 480])
    photograph = photographs()[0]
    arg, aux = calibrated_init(cfg, photograph, seed=0)
    found, raw = Detector(cfg, detection_weights(with_test_copies(arg, cfg)), aux)(photograph)
    above = found.above(0.05)
    assert len(above) >= 50 and len(np.unique(above.classes)) >= 5
    assert len(np.unique(raw.rois, axis=0)) > 250
