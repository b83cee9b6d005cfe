"""From network outputs to detections, and the numbers printed while training."""

import math

import numpy as np
import pytest

from dcn_tasks.boxes import bbox_overlaps, encode_boxes
from dcn_tasks.detections import Detections, detections
from dcn_tasks.schedule import WarmupMultiFactor, steps_in_updates
from dcn_tasks.training_metrics import all_metrics

INFO = (120.0, 160.0, 2.0)  # of an image of 60x80


def find(rois: np.ndarray, prob: np.ndarray, deltas: np.ndarray, **changes) -> Detections:
    settings = {"class_agnostic": True, "score_thresh": 1e-3, "nms_thresh": 0.3, "max_per_image": 100}
    return detections(rois, prob, deltas, INFO, **{**settings, **changes})


def outputs(count: int = 50, classes: int = 4, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    corner = rng.uniform(0, 90, (count, 2))
    rois = np.concatenate([np.zeros((count, 1)), corner, corner + rng.uniform(20, 60, (count, 2))], axis=1)
    prob = rng.dirichlet(np.ones(classes), count)
    return rois.astype(np.float32), prob.astype(np.float32), rng.normal(0, 0.1, (count, 8)).astype(np.float32)


def test_box_is_decoded_in_the_input_and_returned_in_image_pixels() -> None:
    roi, gt = np.array([[0, 10, 20, 49, 79]], np.float32), np.array([[20, 30, 79, 99]], np.float64)
    deltas = np.concatenate([np.full((1, 4), 9.0), encode_boxes(roi[:, 1:], gt)], axis=1)
    found = find(roi, np.array([[0.1, 0.2, 0.7]]), deltas)
    np.testing.assert_allclose(found.boxes, np.repeat(gt / 2, 2, axis=0), atol=1e-9)
    np.testing.assert_allclose(found.scores, [0.7, 0.2])
    np.testing.assert_array_equal(found.classes, [2, 1])


def test_class_aware_boxes_come_from_the_columns_of_their_class() -> None:
    roi = np.array([[0, 40, 40, 59, 59]], np.float32)
    deltas = np.zeros((1, 12))
    deltas[0, 8] = 1.0  # class 2 moves one width to the right
    found = find(roi, np.array([[0.0, 0.4, 0.6]]), deltas, class_agnostic=False)
    np.testing.assert_allclose(found.boxes, [[30, 20, 39.5, 29.5], [20, 20, 29.5, 29.5]])


def test_boxes_lie_in_the_image_best_first_and_apart_within_a_class() -> None:
    rois, prob, deltas = outputs()
    found = find(rois, prob, 10 * deltas)
    assert (
        found.boxes.min() >= 0 and found.boxes[:, [0, 2]].max() <= 159 / 2 and found.boxes[:, [1, 3]].max() <= 119 / 2
    )
    assert (np.diff(found.scores) <= 0).all() and len(found) > 10
    for index in (1, 2, 3):
        boxes = found.boxes[found.classes == index]
        assert (np.triu(bbox_overlaps(boxes, boxes), 1) <= 0.3).all()


def test_score_at_the_threshold_is_dropped() -> None:
    rois, deltas = np.array([[0, 0, 0, 9, 9], [0, 50, 50, 69, 69]], np.float32), np.zeros((2, 8))
    prob = np.array([[0.5, 0.5], [0.25, 0.75]])
    assert len(find(rois, prob, deltas, score_thresh=0.5)) == 1


def test_cap_keeps_ties_of_the_last_score() -> None:
    corner = np.arange(4)[:, None] * 30.0
    rois = np.concatenate([np.zeros((4, 1)), corner, corner, corner + 9, corner + 9], axis=1)
    prob = np.array([[0.1, 0.9], [0.5, 0.5], [0.5, 0.5], [0.8, 0.2]])
    assert find(rois, prob, np.zeros((4, 8)), max_per_image=2).scores.tolist() == [0.9, 0.5, 0.5]
    assert len(find(rois, prob, np.zeros((4, 8)), max_per_image=0)) == 4


def test_nothing_found_is_an_empty_table() -> None:
    rois, prob, deltas = outputs(3)
    found = find(rois, prob, deltas, score_thresh=1.0)
    assert found.boxes.shape == (0, 4) and len(found) == 0


# Training: metrics and rates ----------------------------------------------------------------------------------------


def test_metrics_count_only_labels_that_are_not_ignored() -> None:
    rpn_prob = np.array([[0.9, 0.2, 0.6, 0.5], [0.1, 0.8, 0.4, 0.5]]).reshape(1, 2, 2, 2)
    cls_prob = np.array([[0.7, 0.2, 0.1], [0.1, 0.3, 0.6], [0.2, 0.5, 0.3]])[None]
    metrics = all_metrics(
        {
            "rpn_cls_prob": rpn_prob,
            "rpn_bbox_loss": np.full((1, 4, 1, 2), 0.25),
            "cls_prob": cls_prob,
            "bbox_loss": np.array([[[0.5] * 4, [1.0] * 4, [0.0] * 4]]),
            "label": np.array([[0.0, 1.0, -1.0]]),
        },
        np.array([[0.0, 1.0, 1.0, -1.0]]),
    )
    assert metrics == {
        "RPNAcc": pytest.approx(2 / 3),
        "RPNLogLoss": pytest.approx(-(math.log(0.9) + math.log(0.8) + math.log(0.4)) / 3),
        "RPNL1Loss": pytest.approx(8 * 0.25 / 3),
        "RCNNAcc": pytest.approx(1 / 2),
        "RCNNLogLoss": pytest.approx(-(math.log(0.7) + math.log(0.3)) / 2),
        "RCNNL1Loss": pytest.approx(6.0 / 2),
    }


def test_rate_is_warm_then_base_then_falls_after_each_step() -> None:
    rate = WarmupMultiFactor(0.1, [20, 30], 0.1, warmup=True, warmup_lr=0.01, warmup_step=5)
    expected = {1: 0.01, 4: 0.01, 5: 0.1, 20: 0.1, 21: 0.01, 30: 0.01, 31: 0.001}
    assert {update: rate(update) for update in expected} == pytest.approx(expected)
    assert WarmupMultiFactor(0.1, [], 0.1, warmup_lr=0.01, warmup_step=5)(1) == 0.1


@pytest.mark.parametrize(("text", "updates"), [("4.83", [4830]), ("4,6", [4000, 6000]), ("", [])])
def test_steps_in_epochs_become_updates(text: str, updates: list[int]) -> None:
    assert steps_in_updates(text, 1000) == updates
