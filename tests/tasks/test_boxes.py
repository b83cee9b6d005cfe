"""Box arithmetic: properties that hold for all boxes, and an independent implementation."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from dcn_tasks.boxes import areas, bbox_overlaps, clip_boxes, decode_boxes, encode_boxes
from tests.tolerances import BOX_ROUND_TRIP_PX, FLOAT64_SAME_FUNCTION


@st.composite
def boxes(draw: st.DrawFn, count: int = 6) -> np.ndarray:
    """[count, 4] boxes of 1 to 500 pixels a side within 2000 pixels."""
    corner = draw(arrays(np.float64, (count, 2), elements=st.floats(-1000, 1000, width=32)))
    side = draw(arrays(np.float64, (count, 2), elements=st.floats(0, 499, width=32)))
    return np.concatenate([corner, corner + side], axis=1)


@given(boxes(), boxes())
def test_decoding_what_was_encoded_gives_the_object(rois: np.ndarray, gt: np.ndarray) -> None:
    decoded = decode_boxes(rois, encode_boxes(rois, gt))
    np.testing.assert_allclose(decoded, gt, rtol=0, atol=BOX_ROUND_TRIP_PX)


@given(boxes(), boxes(count=4))
def test_overlap_is_symmetric_bounded_and_one_only_with_itself(a: np.ndarray, b: np.ndarray) -> None:
    overlaps = bbox_overlaps(a, b)
    assert overlaps.shape == (6, 4)
    assert (overlaps >= 0).all() and (overlaps <= 1 + FLOAT64_SAME_FUNCTION).all()
    np.testing.assert_array_equal(overlaps, bbox_overlaps(b, a).T)
    np.testing.assert_allclose(np.diag(bbox_overlaps(a, a)), 1, rtol=0, atol=FLOAT64_SAME_FUNCTION)


@given(boxes(), st.floats(-300, 300), st.integers(1, 5))
def test_overlap_does_not_depend_on_where_the_origin_is(a: np.ndarray, shift: float, seed: int) -> None:
    b = a[np.random.default_rng(seed).permutation(len(a))]
    np.testing.assert_allclose(bbox_overlaps(a + shift, b + shift), bbox_overlaps(a, b), rtol=0, atol=1e-9)


@given(boxes(), st.integers(1, 800), st.integers(1, 800))
def test_clipped_boxes_lie_inside_and_clipping_twice_changes_nothing(a: np.ndarray, height: int, width: int) -> None:
    clipped = clip_boxes(a, height, width)
    assert clipped.min() >= 0 and clipped[:, 0::2].max() <= width - 1 and clipped[:, 1::2].max() <= height - 1
    np.testing.assert_array_equal(clip_boxes(clipped, height, width), clipped)


def test_far_edge_is_inclusive() -> None:
    #    0 1 2 3      a covers columns 0-1, b columns 1-2, c columns 2-3, all of one row
    a, b, c = [0, 0, 1, 0], [1, 0, 2, 0], [2, 0, 3, 0]
    np.testing.assert_array_equal(areas(np.array([a], float)), [2])
    np.testing.assert_allclose(bbox_overlaps(np.array([a]), np.array([a, b, c])), [[1, 1 / 3, 0]])


def test_encoding_is_shift_in_box_sizes_and_log_of_the_ratio() -> None:
    roi, gt = np.array([[0, 0, 9, 19]], float), np.array([[5, 0, 24, 19]], float)  # 10 wide at 4.5 -> 20 wide at 14.5
    np.testing.assert_allclose(encode_boxes(roi, gt), [[1.0, 0.0, np.log(2), 0.0]], atol=1e-12)


def test_each_class_has_its_own_four_columns() -> None:
    box = np.array([[0, 0, 9, 9]], float)
    deltas = np.array([[0, 0, 0, 0, 1, 0, 0, 0]], float)
    np.testing.assert_allclose(decode_boxes(box, deltas), [[0, 0, 9, 9, 10, 0, 19, 9]])


def test_enormous_prediction_overflows_to_a_box_that_clips_to_the_image() -> None:
    decoded = decode_boxes(np.array([[10, 10, 19, 19]], float), np.array([[0, 0, 1e4, 1e4]]))
    np.testing.assert_array_equal(clip_boxes(decoded, 60, 80), [[0, 0, 79, 59]])


def test_no_boxes_in_no_boxes_out() -> None:
    none = np.zeros((0, 4))
    assert bbox_overlaps(none, np.ones((3, 4))).shape == (0, 3)
    assert decode_boxes(none, np.zeros((0, 8))).shape == (0, 8)


@pytest.mark.mxnet
def test_overlaps_are_those_of_gluoncv(gluoncv) -> None:
    bbox_iou = gluoncv.utils.bbox_iou
    rng = np.random.default_rng(0)
    corner = rng.uniform(0, 200, (60, 2))
    a = np.concatenate([corner, corner + rng.uniform(0, 90, (60, 2))], axis=1)
    past_the_edge = a + np.array([0, 0, 1, 1])  # gluoncv's boxes end where ours have their last pixel's far side
    expected = bbox_iou(past_the_edge, past_the_edge[:40])
    np.testing.assert_allclose(bbox_overlaps(a, a[:40]), expected, rtol=0, atol=FLOAT64_SAME_FUNCTION)
