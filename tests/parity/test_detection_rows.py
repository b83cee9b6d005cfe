"""Boxes of two frameworks are judged as sets, where the network's own float32 decides them."""

import numpy as np

from dcn_suite.parity.detections import SCORE_TOLERANCE, detection_rows, is_well_posed, posed_rows
from dcn_suite.parity.rows import HOLDS, RED, REPORTED
from dcn_tasks.detections import Detections

BOXES = np.array([[10.0, 10, 60, 60], [100, 20, 180, 90], [30, 100, 80, 160]])
SCORES = np.array([0.9, 0.6, 0.2])


def found(scores=SCORES, boxes=BOXES) -> Detections:
    return Detections(boxes, np.asarray(scores), np.array([1, 2, 1])[: len(scores)])


def verdicts(rows) -> list[str]:
    return [row.verdict for row in rows]


def test_the_same_boxes_in_another_order_hold():
    order = [2, 0, 1]
    other = Detections(BOXES[order], SCORES[order], np.array([1, 2, 1])[order])
    assert verdicts(detection_rows("detections", found(), other)) == [HOLDS, HOLDS]


def test_a_missing_box_and_a_moved_box_are_red():
    assert verdicts(detection_rows("detections", found(), found(SCORES[:2], BOXES[:2]))) == [RED, HOLDS]
    assert verdicts(detection_rows("detections", found(), found(boxes=BOXES + np.eye(4)[3]))) == [RED, HOLDS]


def test_a_score_beyond_the_tolerance_is_red():
    assert verdicts(detection_rows("detections", found(), found(SCORES + 2 * SCORE_TOLERANCE)))[1] == RED
    assert verdicts(detection_rows("detections", found(), found(SCORES + SCORE_TOLERANCE / 2)))[1] == HOLDS


def test_a_network_whose_float32_decides_otherwise_than_its_float64_is_not_well_posed():
    assert is_well_posed(found(), found())
    assert not is_well_posed(found(), found(SCORES[:2], BOXES[:2]))
    assert not is_well_posed(found(), found(SCORES + 2 * SCORE_TOLERANCE))


def test_calibrated_weights_have_to_be_well_posed_and_a_checkpoint_is_what_it_is():
    other = found(SCORES[:2], BOXES[:2])
    assert verdicts(posed_rows(found(), other, calibrated=True)) == [RED, HOLDS]
    assert verdicts(posed_rows(found(), other, calibrated=False)) == [REPORTED, REPORTED]
    assert verdicts(detection_rows("detections", found(), other, judged=False)) == [REPORTED, REPORTED]
