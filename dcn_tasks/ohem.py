"""Online hard example mining (original `operator_py/box_annotator_ohem.py`)."""

import numpy as np


def select_hard_rois(
    cls_score: np.ndarray,
    bbox_pred: np.ndarray,
    labels: np.ndarray,
    bbox_targets: np.ndarray,
    bbox_weights: np.ndarray,
    *,
    rois_per_image: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Keep the RoIs with the largest loss; the others are ignored.

    Args:
        cls_score: [R, C] logits; bbox_pred, bbox_targets, bbox_weights: [R, 4*K]; labels: [R].
        rois_per_image: how many keep their label; equal losses: the lower index first.
    Returns: labels [R] with -1 and bbox_weights [R, 4*K] with 0 for RoIs not kept.
    """
    logits = cls_score - cls_score.max(axis=1, keepdims=True)
    probability = np.exp(logits)
    probability /= probability.sum(axis=1, keepdims=True)
    loss = -np.log(probability[np.arange(len(labels)), labels.astype(int)] + 1e-14)
    loss = loss + (bbox_weights * smooth_l1(bbox_pred - bbox_targets, 1.0)).sum(axis=1)
    dropped = np.argsort(-loss, kind="stable")[rois_per_image:]
    labels, bbox_weights = labels.copy(), bbox_weights.copy()
    labels[dropped] = -1
    bbox_weights[dropped] = 0
    return labels, bbox_weights


def smooth_l1(x: np.ndarray, sigma: float) -> np.ndarray:
    """0.5 (sigma x)^2 where |x| < 1 / sigma^2, else |x| - 0.5 / sigma^2. MXNet's `smooth_l1` with scalar=sigma."""
    square = sigma * sigma
    return np.where(np.abs(x) < 1 / square, 0.5 * square * x * x, np.abs(x) - 0.5 / square)
