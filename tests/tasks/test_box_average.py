"""Box averaging against a loop over boxes, and by what it must not do."""

import numpy as np
from tolerances import FLOAT64_SAME_FUNCTION

from dcn_tasks.box_average import average_boxes
from dcn_tasks.boxes import bbox_overlaps


def crowd(seed: int = 0, objects: int = 4, each: int = 15) -> np.ndarray:
    """[N, 5] boxes scattered around a few objects."""
    rng = np.random.default_rng(seed)
    corner = np.repeat(rng.uniform(0, 200, (objects, 2)), each, axis=0)
    boxes = np.concatenate([corner, corner + 60], axis=1) + rng.normal(0, 8, (objects * each, 4))
    return np.concatenate([boxes, rng.uniform(0.01, 1, (len(boxes), 1))], axis=1)


def test_kept_box_is_the_mean_of_what_lies_on_it_by_score() -> None:
    candidates = crowd()
    kept = candidates[::15, :4]
    averaged = average_boxes(kept, candidates, 0.5)
    for box, result in zip(kept, averaged, strict=True):
        total, weight = np.zeros(4), 0.0
        for candidate in candidates:
            if bbox_overlaps(box[None], candidate[None, :4])[0, 0] >= 0.5:
                total, weight = total + candidate[4] * candidate[:4], weight + candidate[4]
        np.testing.assert_allclose(result, total / weight, rtol=FLOAT64_SAME_FUNCTION)
    assert np.abs(averaged - kept).max() > 1


def test_overlap_equal_to_the_threshold_counts() -> None:
    #  columns 0-2 and 1-3 of one row: IoU exactly 0.5
    candidates = np.array([[0, 0, 2, 0, 0.75], [1, 0, 3, 0, 0.25]])
    np.testing.assert_array_equal(average_boxes(candidates[:1, :4], candidates, 0.5), [[0.25, 0, 2.25, 0]])
    np.testing.assert_array_equal(average_boxes(candidates[:1, :4], candidates, np.nextafter(0.5, 1)), [[0, 0, 2, 0]])


def test_box_without_positive_scores_stays_and_nothing_gives_nothing() -> None:
    kept = np.array([[0.0, 0, 9, 9]])
    np.testing.assert_array_equal(average_boxes(kept, np.array([[0.0, 0, 9, 9, 0]]), 0.5), kept)
    assert average_boxes(np.zeros((0, 4)), np.zeros((0, 5)), 0.5).shape == (0, 4)
