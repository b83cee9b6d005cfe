"""Hard example mining: which RoIs stay."""

import math

import numpy as np
import pytest

from dcn_tasks.ohem import roi_losses, select_hard_rois, smooth_l1
from tests.tolerances import FLOAT64_SAME_FUNCTION


def case(count: int = 30, seed: int = 0) -> tuple[np.ndarray, ...]:
    """cls_score, bbox_pred, labels, bbox_targets, bbox_weights of `count` RoIs and 4 classes."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 4, count).astype(np.float32)
    weights = np.zeros((count, 8), np.float32)
    weights[labels > 0, 4:] = 1
    draw = [rng.normal(0, 2, (count, width)).astype(np.float32) for width in (4, 8, 8)]
    return draw[0], draw[1], labels, draw[2], weights


def loss_by_rule(scores, prediction, label, target, weight) -> float:
    total = sum(math.exp(float(score)) for score in scores)
    loss = -math.log(math.exp(float(scores[int(label)])) / total + 1e-14)
    for p, t, w in zip(prediction.tolist(), target.tolist(), weight.tolist(), strict=True):
        distance = abs(p - t)
        loss += w * (0.5 * distance**2 if distance < 1 else distance - 0.5)
    return loss


def test_losses_are_cross_entropy_plus_weighted_smooth_l1() -> None:
    arrays = case()
    expected = [loss_by_rule(*row) for row in zip(*arrays, strict=True)]
    np.testing.assert_allclose(roi_losses(*arrays), expected, rtol=FLOAT64_SAME_FUNCTION)


def test_the_hardest_stay_and_the_others_are_ignored() -> None:
    arrays = case()
    labels, weights = select_hard_rois(*arrays, rois_per_image=8)
    hardest = np.sort(np.argsort(roi_losses(*arrays))[-8:])
    np.testing.assert_array_equal(np.flatnonzero(labels != -1), hardest)
    np.testing.assert_array_equal(labels[hardest], arrays[2][hardest])
    np.testing.assert_array_equal(weights[hardest], arrays[4][hardest])
    assert not weights[labels == -1].any()


def test_inputs_are_left_alone_and_few_rois_all_stay() -> None:
    arrays = case(5)
    before = [array.copy() for array in arrays]
    labels, _ = select_hard_rois(*arrays, rois_per_image=2)
    assert all(np.array_equal(now, then) for now, then in zip(arrays, before, strict=True))
    assert (labels == -1).sum() == 3
    np.testing.assert_array_equal(select_hard_rois(*arrays, rois_per_image=128)[0], arrays[2])


def test_of_equal_losses_the_lower_index_stays() -> None:
    same = tuple(np.repeat(array[:1], 6, axis=0) for array in case())
    labels, _ = select_hard_rois(*same, rois_per_image=2)
    np.testing.assert_array_equal(np.flatnonzero(labels != -1), [0, 1])


def test_logits_of_a_thousand_do_not_overflow() -> None:
    scores = np.array([[1000.0, 0, 0, 0]], np.float32)
    arrays = (scores, np.zeros((1, 8)), np.array([1.0]), np.zeros((1, 8)), np.zeros((1, 8)))
    np.testing.assert_allclose(roi_losses(*arrays), [-math.log(1e-14)])


@pytest.mark.mxnet
@pytest.mark.parametrize("sigma", [1.0, 3.0])
def test_smooth_l1_is_mxnets(sigma: float) -> None:
    import mxnet as mx

    x = np.linspace(-2, 2, 401)
    theirs = mx.nd.smooth_l1(mx.nd.array(x, dtype="float64"), scalar=sigma).asnumpy()
    np.testing.assert_allclose(smooth_l1(x, sigma), theirs, rtol=0, atol=FLOAT64_SAME_FUNCTION)
