"""Proposals: the original's rules, and MXNet's own Proposal where the two agree (stride 16, whole cells, no minimum)."""

import numpy as np
import pytest

from dcn_tasks.anchors import base_anchors
from dcn_tasks.proposals import Proposals, propose
from dcn_tasks.streams import Draws
from tests.tolerances import PROPOSAL_FLOAT32_PX

SCALES, RATIOS = (2, 4, 8), (0.5, 1, 2)
ANCHORS = len(SCALES) * len(RATIOS)


def head_outputs(rows: int, columns: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    scores = rng.permutation(ANCHORS * rows * columns).reshape(ANCHORS, rows, columns) / (ANCHORS * rows * columns)
    deltas = rng.normal(0, 0.3, (4 * ANCHORS, rows, columns))
    return scores.astype(np.float32), deltas.astype(np.float32)


def run(scores: np.ndarray, deltas: np.ndarray, im_info, **changes) -> Proposals:
    settings = {
        "feature_stride": 16,
        "scales": SCALES,
        "ratios": RATIOS,
        "pre_nms_top_n": 300,
        "post_nms_top_n": 60,
        "nms_thresh": 0.7,
        "min_size": 0,
        "draws": Draws(0),
    }
    return propose(scores, deltas, im_info, **{**settings, **changes})


@pytest.mark.mxnet
@pytest.mark.parametrize(("rows", "columns"), [(6, 9), (12, 5)])
@pytest.mark.parametrize("nms_thresh", [0.5, 0.7])
def test_rows_are_those_of_mxnet_proposal(rows: int, columns: int, nms_thresh: float) -> None:
    import mxnet as mx

    scores, deltas = head_outputs(rows, columns)
    ours = run(scores, deltas, (16 * rows, 16 * columns, 1.0), nms_thresh=nms_thresh, post_nms_top_n=300)
    theirs, their_scores = mx.nd.contrib.Proposal(
        cls_prob=mx.nd.array(np.concatenate([1 - scores, scores])[None]),
        bbox_pred=mx.nd.array(deltas[None]),
        im_info=mx.nd.array([[16 * rows, 16 * columns, 1.0]]),
        rpn_pre_nms_top_n=300,
        rpn_post_nms_top_n=300,
        threshold=nms_thresh,
        rpn_min_size=0,
        scales=SCALES,
        ratios=RATIOS,
        feature_stride=16,
        output_score=True,
    )
    count = ours.num_valid
    assert 30 < count < 300
    np.testing.assert_array_equal(ours.scores[:count], their_scores.asnumpy()[:count])
    np.testing.assert_allclose(ours.rois[:count], theirs.asnumpy()[:count], rtol=0, atol=PROPOSAL_FLOAT32_PX)
    # MXNet fills up by repeating from the first kept one, hence one more row tells that it kept as many
    np.testing.assert_array_equal(theirs.asnumpy()[count], theirs.asnumpy()[0])


def test_rows_missing_are_repetitions_of_kept_ones_drawn_at_their_site() -> None:
    scores, deltas = head_outputs(4, 5)
    found = run(scores, deltas, (64, 80, 1.0), nms_thresh=0.3)
    assert 0 < found.num_valid < 60 == len(found.rois) == len(found.scores)
    again = Draws(0).choice("proposal.padding", found.num_valid, 60 - found.num_valid, True)
    np.testing.assert_array_equal(found.rois[found.num_valid :], found.rois[again])
    np.testing.assert_array_equal(found.scores[found.num_valid :], found.scores[again])
    other = run(scores, deltas, (64, 80, 1.0), nms_thresh=0.3, draws=Draws(0, step=1))
    assert (other.rois[found.num_valid :] != found.rois[found.num_valid :]).any()


def test_cells_beyond_the_whole_strides_of_the_image_are_not_used() -> None:
    scores, deltas = head_outputs(5, 6)
    scores[:, 4:], scores[:, :, 5:] = 1.0, 1.0  # the best of all, but 79 // 16 = 4 rows and 95 // 16 = 5 columns
    cut = run(np.ascontiguousarray(scores[:, :4, :5]), np.ascontiguousarray(deltas[:, :4, :5]), (79, 95, 1.0))
    whole = run(scores, deltas, (79, 95, 1.0))
    np.testing.assert_array_equal(whole.rois, cut.rois)
    assert whole.scores.max() < 1


def test_map_smaller_than_the_image_is_used_whole() -> None:
    scores, deltas = head_outputs(3, 3)
    assert run(scores, deltas, (64, 64, 1.0)).rois.shape == (60, 5)


def test_minimum_size_counts_pixels_of_the_unscaled_image() -> None:
    scores, deltas = head_outputs(6, 9)
    found = run(scores, deltas, (96, 144, 2.0), min_size=24)
    sides = found.rois[:, 3:] - found.rois[:, 1:3] + 1
    assert sides.min() >= 48
    assert (run(scores, deltas, (96, 144, 2.0)).rois[:, 3] - found.rois[:, 1] + 1).min() < 48


def test_only_the_best_before_suppression_take_part() -> None:
    scores, deltas = head_outputs(6, 9)
    few = run(scores, deltas, (96, 144, 1.0), pre_nms_top_n=10, nms_thresh=1.0)
    assert few.num_valid == 10
    np.testing.assert_array_equal(few.scores[:10, 0], np.sort(scores.ravel())[::-1][:10])
    everything = run(scores, deltas, (96, 144, 1.0), pre_nms_top_n=0, nms_thresh=1.0, post_nms_top_n=1000)
    assert everything.num_valid == scores.size


def test_equal_scores_go_by_cell_then_anchor() -> None:
    scores, deltas = np.full((ANCHORS, 8, 8), 0.5, np.float32), np.zeros((4 * ANCHORS, 8, 8), np.float32)
    found = run(scores, deltas, (128, 128, 1.0), nms_thresh=1.0, post_nms_top_n=ANCHORS)
    expected = np.clip(base_anchors(16, RATIOS, SCALES), 0, 127)
    np.testing.assert_array_equal(found.rois[:, 1:], expected)


def test_boxes_lie_in_the_image_and_are_float32_of_image_zero() -> None:
    scores, deltas = head_outputs(6, 9)
    found = run(scores, 5 * deltas, (96, 144, 1.0))
    assert found.rois.dtype == found.scores.dtype == np.float32
    assert (found.rois[:, 0] == 0).all() and found.rois.min() >= 0
    assert found.rois[:, [1, 3]].max() <= 143 and found.rois[:, [2, 4]].max() <= 95


def test_diverged_network_is_an_error_that_says_so() -> None:
    scores, deltas = head_outputs(3, 3)
    with pytest.raises(ValueError, match="NaN"):
        run(scores, np.full_like(deltas, np.nan), (48, 48, 1.0))
