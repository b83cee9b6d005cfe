"""The class-aware RPN: which anchors it hands out, what it detects, what it is built of."""

import numpy as np
import pytest
import torch

from dcn_tasks.anchor_candidates import anchor_candidates
from dcn_tasks.batch import training_batch
from dcn_tasks.boxes import bbox_overlaps
from dcn_tasks.config import load_config
from dcn_tasks.errors import InputError
from dcn_tasks.network import NetworkSpec
from dcn_tasks.streams import Draws
from torch_port.layers import AnchorCandidates
from torch_port.models import ClassAwareRPN, Detector, build_network

ANCHORS = {"feature_stride": 16, "scales": (1, 2), "ratios": (0.5, 1, 2)}
VOC = "class_aware_rpn/resnet_v1_101_voc0712_class_aware_rpn"


def maps(classes: int = 3) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    prob = rng.dirichlet(np.ones(classes), (6, 4, 5)).transpose(3, 0, 1, 2).reshape(classes * 6, 4, 5)
    return prob, rng.normal(size=(24, 4, 5))


def test_candidates_are_rows_of_the_grid_with_their_own_numbers():
    prob, deltas = maps()
    found = anchor_candidates(prob, deltas, top_n=1000, **ANCHORS)
    assert found.rois.shape == (120, 5) and found.cls_prob.shape == (120, 3) and found.bbox_pred.shape == (120, 8)
    y, x, anchor = 2, 3, 4
    row = (y * 5 + x) * 6 + anchor
    np.testing.assert_array_equal(found.cls_prob[row], prob[anchor::6, y, x])
    np.testing.assert_array_equal(found.bbox_pred[row], [0, 0, 0, 0, *deltas[4 * anchor : 4 * anchor + 4, y, x]])
    centre = found.rois[row, 1:].reshape(2, 2).mean(axis=0)
    np.testing.assert_array_equal(centre, [16 * x + 7.5, 16 * y + 7.5])


def test_the_likeliest_objects_stay_in_the_order_of_the_grid():
    prob, deltas = maps()
    everything = anchor_candidates(prob, deltas, top_n=1000, **ANCHORS)
    best = np.sort(np.argsort(-everything.cls_prob[:, 1:].max(axis=1))[:10])
    np.testing.assert_array_equal(anchor_candidates(prob, deltas, top_n=10, **ANCHORS).rois, everything.rois[best])


@pytest.mark.parametrize("top_n", [7, 1000])
def test_the_module_gives_what_the_written_rule_gives_image_by_image(top_n):
    prob, deltas = maps()
    layer = AnchorCandidates(top_n=top_n, **ANCHORS)
    outputs = layer(torch.tensor(np.stack([prob, prob[:, ::-1].copy()])), torch.tensor(np.stack([deltas, deltas])))
    first = anchor_candidates(prob, deltas, top_n=top_n, **ANCHORS)
    for found, expected in zip(outputs, (first.rois, first.cls_prob, first.bbox_pred), strict=True):
        np.testing.assert_array_equal(found[: len(expected)].numpy(), expected)
    assert set(outputs[0][len(first.rois) :, 0].tolist()) == {1.0}


def on_meta(name=VOC, **overrides):
    with torch.device("meta"):
        return build_network(load_config(name, **overrides))


def test_head_has_one_softmax_channel_per_class_and_anchor_and_one_box_per_anchor():
    network = on_meta()
    assert isinstance(network, ClassAwareRPN)
    shapes = {name: tuple(tensor.shape) for name, tensor in network.rpn.state_dict().items() if name.endswith("weight")}
    assert shapes == {
        "reduce.weight": (1024, 2048, 1, 1),
        "conv.weight": (512, 1024, 3, 3),
        "cls_score.weight": (21 * 9, 512, 1, 1),
        "bbox_pred.weight": (36, 512, 1, 1),
    }


def test_without_the_hidden_layer_the_parameters_are_the_papers_but_for_a_million():
    """Table 4: 46.0 M, and 46.1 M deformable with one offset group."""
    counts = [
        sum(parameter.numel() for parameter in on_meta(name, network__RPN_WIDTH=0).parameters()) / 1e6
        for name in (VOC, f"{VOC}_dcn")
    ]
    assert 44.5 < counts[0] < 46.0
    assert counts[1] - counts[0] == pytest.approx(0.249, abs=0.001)


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        ({"CLASS_AGNOSTIC": False}, "CLASS_AGNOSTIC: expected true"),
        ({"network__DEFORM_ROI_POOLING": True}, "a class-aware RPN pools no RoIs"),
        ({"symbol": "resnet_v1_101_rfcn", "network__RPN_WIDTH": 0}, "RPN_WIDTH: expected at least 1"),
    ],
)
def test_impossible_network_is_refused(overrides, sentence):
    with pytest.raises(InputError, match=sentence):
        NetworkSpec.from_config(load_config(VOC, **overrides))


def test_positive_anchors_carry_the_class_of_the_object_they_overlap_most():
    cfg = load_config("demo/narrow_class_aware_rpn", SCALES=[96, 128])
    image = np.zeros((96, 128, 3), np.uint8)
    boxes = np.array([[0, 0, 45, 45, 3], [60, 40, 120, 90, 2]], np.float32)
    batch = training_batch(image, boxes, cfg, Draws(0))
    plain = training_batch(image, boxes, load_config("demo/narrow_rfcn", SCALES=[96, 128]), Draws(0))
    assert set(np.unique(batch["label"])) == {-1, 0, 2, 3}
    np.testing.assert_array_equal(batch["label"] > 0, plain["label"] == 1)
    np.testing.assert_array_equal(batch["bbox_target"], plain["bbox_target"])


def test_detector_suppresses_class_by_class_and_refuses_a_second_pass():
    cfg = load_config("demo/narrow_class_aware_rpn_dcn", SCALES=[96, 128])
    torch.manual_seed(0)
    network = build_network(cfg)
    with torch.no_grad():
        network.rpn.cls_score.weight.normal_(std=1.0)
    image = np.random.default_rng(0).integers(0, 256, (96, 128, 3), dtype=np.uint8)
    found, raw = Detector(network, cfg)(image)
    assert raw.cls_prob.shape == (6 * 8 * 6, 5)
    np.testing.assert_allclose(raw.cls_prob.sum(axis=1), 1, rtol=1e-5)
    for index in range(1, 5):
        boxes = found.boxes[found.classes == index]
        assert (np.triu(bbox_overlaps(boxes, boxes), 1) <= cfg.TEST.NMS).all()
    assert len(set(found.classes.tolist())) > 1
    with pytest.raises(InputError, match="has no second stage"):
        Detector(network, load_config(cfg, TEST__BOX_AVERAGE=True))
