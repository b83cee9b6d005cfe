"""The paper's "iterative bounding box average": boxes of one object outvote each other (Gidaris & Komodakis 2015)."""

import numpy as np

from dcn_tasks.boxes import bbox_overlaps


def average_boxes(kept: np.ndarray, candidates: np.ndarray, thresh: float) -> np.ndarray:
    """Every kept box as the mean of the candidates that lie on it, each by its score.

    Args:
        kept: [K, 4]. candidates: [N, 5] = x1, y1, x2, y2, score >= 0, of the same class, the kept ones among them.
        thresh: a candidate counts from this IoU on.
    Returns: [K, 4]; a box that no candidate with a positive score lies on stays where it is.
    A proposal that the Proposal operator repeats, to fill its number up, is a candidate each time.
    Source: the authors' `post_process_candidate_detections`, which weighs by max(0, score + 1.5) for SVM scores;
        probabilities are weighed as they are.
    """
    kept, candidates = np.asarray(kept, np.float64), np.asarray(candidates, np.float64)
    weights = candidates[:, 4] * (bbox_overlaps(kept, candidates[:, :4]) >= thresh)  # [K, N]
    total = weights.sum(axis=1, keepdims=True)
    return np.where(total > 0, weights @ candidates[:, :4] / np.where(total > 0, total, 1), kept)
