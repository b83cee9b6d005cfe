"""Non-maximum suppression against MXNet's box_nms and by its defining properties."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dcn_tasks.boxes import bbox_overlaps
from dcn_tasks.nms import nms


def random_detections(seed: int, count: int, size: float = 200) -> np.ndarray:
    rng = np.random.default_rng(seed)
    corner = rng.uniform(0, size, (count, 2))
    side = rng.uniform(5, size / 2, (count, 2))
    return np.concatenate([corner, corner + side, rng.permutation(count)[:, None] / count], axis=1)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.integers(0, 60), st.sampled_from([0.0, 0.3, 0.7, 1.0]))
def test_kept_boxes_do_not_overlap_and_dropped_ones_overlap_a_better_one(seed: int, count: int, thresh: float) -> None:
    dets = random_detections(seed, count)
    keep = nms(dets, thresh)
    assert (np.diff(dets[keep, 4]) < 0).all()
    overlaps = bbox_overlaps(dets[:, :4], dets[:, :4])
    for place, index in enumerate(keep):
        assert (overlaps[index, keep[:place]] <= thresh).all()
    for index in set(range(count)) - set(keep.tolist()):
        better = [kept for kept in keep if dets[kept, 4] > dets[index, 4]]
        assert (overlaps[index, better] > thresh).any()


def test_overlap_equal_to_the_threshold_is_kept() -> None:
    #  columns 0-2 and 1-3 of one row: 2 of 4 pixels shared, IoU exactly 0.5
    dets = np.array([[0, 0, 2, 0, 0.9], [1, 0, 3, 0, 0.8]])
    np.testing.assert_array_equal(nms(dets, 0.5), [0, 1])
    np.testing.assert_array_equal(nms(dets, np.nextafter(0.5, 0)), [0])


def test_of_equal_scores_the_lower_index_wins() -> None:
    dets = np.array([[0, 0, 9, 9, 0.5], [1, 0, 9, 9, 0.7], [0, 1, 9, 9, 0.7], [50, 50, 59, 59, 0.5]])
    np.testing.assert_array_equal(nms(dets, 0.3), [1, 3])


def test_nothing_in_nothing_out() -> None:
    assert nms(np.zeros((0, 5)), 0.5).shape == (0,)


@pytest.mark.mxnet
@pytest.mark.parametrize("thresh", [0.3, 0.5, 0.7])
def test_same_boxes_survive_as_in_mxnet_box_nms(thresh: float) -> None:
    import mxnet as mx

    dets = random_detections(3, 400).astype(np.float32)
    # box_nms measures x2 - x1 where the original measures x2 - x1 + 1
    rows = np.concatenate([dets[:, 4:], dets[:, :2], dets[:, 2:4] + 1], axis=1)
    out = mx.nd.contrib.box_nms(
        mx.nd.array(rows), overlap_thresh=thresh, valid_thresh=-1, coord_start=1, score_index=0, id_index=-1
    ).asnumpy()
    survivors = out[out[:, 0] >= 0]
    keep = nms(dets, thresh)
    assert 20 < len(keep) < 400
    np.testing.assert_array_equal(dets[keep, 4], survivors[:, 0])
