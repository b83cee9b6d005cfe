"""Non-maximum suppression against MXNet's box_nms and by its defining properties."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tolerances import FLOAT64_SAME_FUNCTION

from dcn_tasks.boxes import bbox_overlaps
from dcn_tasks.detections import Suppression, suppress
from dcn_tasks.errors import InputError
from dcn_tasks.nms import nms, soft_nms


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


@pytest.mark.parametrize("max_keep", [None, 0, 1, 64, 65, 150])
@pytest.mark.parametrize("thresh", [0.0, 0.3, 0.7])
def test_it_is_the_plain_greedy_rule_to_the_last_bit(thresh: float, max_keep: int | None) -> None:
    dets = random_detections(5, 500, size=400)
    dets[:, 4] = np.round(dets[:, 4], 2)  # equal scores
    dets[::9, :4] = np.round(dets[::9, :4])  # boxes that touch
    dets[7, 0] = np.nan  # overlaps with nothing
    order = np.argsort(-dets[:, 4], kind="stable")
    overlaps = bbox_overlaps(dets[:, :4], dets[:, :4])
    expected: list[int] = []
    for index in order:
        if not (overlaps[expected, index] > thresh).any() and (max_keep is None or len(expected) < max_keep):
            expected.append(int(index))
    assert nms(dets, thresh, max_keep).tolist() == expected


@pytest.mark.parametrize("thresh", [-0.1, float("nan")])
def test_a_threshold_that_is_none_is_refused(thresh: float) -> None:
    with pytest.raises(InputError, match=r"nms: expected a threshold of at least 0, .* set TEST\.NMS"):
        nms(random_detections(0, 4), thresh)


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


@pytest.mark.mxnet
def test_classes_are_suppressed_apart_as_in_mxnet_box_nms() -> None:
    import mxnet as mx

    dets = random_detections(8, 300).astype(np.float32)
    classes = np.random.default_rng(9).integers(1, 5, len(dets))
    rows = np.concatenate([classes[:, None], dets[:, 4:], dets[:, :2], dets[:, 2:4] + 1], axis=1)
    out = mx.nd.contrib.box_nms(
        mx.nd.array(rows), overlap_thresh=0.3, valid_thresh=-1, coord_start=2, score_index=1, id_index=0
    ).asnumpy()
    survivors = out[out[:, 0] >= 0]
    found = suppress([[dets[classes == index] for index in range(1, 5)]], Suppression(0.3, 0))
    assert 40 < len(found) < 300
    np.testing.assert_array_equal(found.scores, survivors[:, 1])
    np.testing.assert_array_equal(found.classes, survivors[:, 0])


# Soft-NMS -------------------------------------------------------------------------------------------------------------


def plain_soft_nms(dets: np.ndarray, thresh: float, method: str, max_dets: int | None) -> list[tuple[int, float]]:
    """The rule, box by box: choose the best, lower the rest, choose again."""
    left = {index: float(dets[index, 4]) for index in range(len(dets))}
    chosen = []
    while left and (max_dets is None or len(chosen) < max_dets):
        best = max(left, key=lambda index: (left[index], -index))
        chosen.append((best, left.pop(best)))
        for index in left:
            overlap = float(bbox_overlaps(dets[best : best + 1, :4], dets[index : index + 1, :4])[0, 0])
            if method == "gaussian":
                left[index] *= np.exp(-(overlap**2) / thresh)
            elif overlap >= thresh:
                left[index] *= 1 - overlap
    return chosen


@pytest.mark.parametrize("method", ["gaussian", "linear"])
@pytest.mark.parametrize(("thresh", "max_dets"), [(0.4, None), (0.3, 10)])
def test_soft_nms_is_its_plain_loop(method: str, thresh: float, max_dets: int | None) -> None:
    dets = random_detections(4, 60, size=40)
    keep, scores = soft_nms(dets, thresh, method=method, max_dets=max_dets)
    expected = plain_soft_nms(dets, thresh, method, max_dets)
    assert keep.tolist() == [index for index, _ in expected]
    np.testing.assert_allclose(scores, [score for _, score in expected], rtol=FLOAT64_SAME_FUNCTION)
    assert (max_dets or (scores < dets[keep, 4]).any()) and (np.diff(scores) <= 0).all()


def test_soft_nms_lowers_by_the_stated_factor() -> None:
    #  columns 0-2 and 1-3 of one row: IoU exactly 0.5; the third box lies apart
    dets = np.array([[0, 0, 2, 0, 0.9], [1, 0, 3, 0, 0.8], [50, 0, 52, 0, 0.7]])
    keep, scores = soft_nms(dets, 0.5, method="gaussian")
    assert keep.tolist() == [0, 2, 1] and scores[2] == pytest.approx(0.8 * np.exp(-0.5))
    keep, scores = soft_nms(dets, 0.5, method="linear")
    assert keep.tolist() == [0, 2, 1] and scores.tolist() == [0.9, 0.7, 0.4]
    assert soft_nms(dets, np.nextafter(0.5, 1), method="linear")[1].tolist() == [0.9, 0.8, 0.7]


def test_soft_nms_leaves_its_input_alone_and_takes_the_lower_index_of_equals() -> None:
    dets = np.array([[0, 0, 9, 9, 0.5], [90, 0, 99, 9, 0.5]])
    before = dets.copy()
    assert soft_nms(dets, 0.6)[0].tolist() == [0, 1]
    np.testing.assert_array_equal(dets, before)
    assert soft_nms(np.zeros((0, 5)), 0.6)[0].shape == (0,)


def test_soft_nms_says_what_it_cannot_do() -> None:
    with pytest.raises(InputError, match=r"TEST\.SOFTNMS_METHOD"):
        soft_nms(np.zeros((0, 5)), 0.6, method="cubic")  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"TEST\.SOFTNMS_THRESH"):
        soft_nms(np.zeros((0, 5)), 0.0)
