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
    Returns: labels [R] with -1 and bbox_weights [R, 4*K] with 0 for RoIs not kept; new arrays.
    """
    loss = roi_losses(cls_score, bbox_pred, labels, bbox_targets, bbox_weights)
    dropped = np.argsort(-loss, kind="stable")[rois_per_image:]
    labels, bbox_weights = labels.copy(), bbox_weights.copy()
    labels[dropped] = -1
    bbox_weights[dropped] = 0
    return labels, bbox_weights


def roi_losses(
    cls_score: np.ndarray, bbox_pred: np.ndarray, labels: np.ndarray, bbox_targets: np.ndarray, bbox_weights: np.ndarray
) -> np.ndarray:
    """[R] float64, by which RoIs are ranked: -log(softmax[label] + 1e-14) + sum of weight * smooth L1."""
    logits = np.asarray(cls_score, np.float64)
    probability = np.exp(logits - logits.max(axis=1, keepdims=True))
    probability /= probability.sum(axis=1, keepdims=True)
    of_label = probability[np.arange(len(labels)), labels.astype(int)]
    distance = np.asarray(bbox_pred, np.float64) - bbox_targets
    return -np.log(of_label + 1e-14) + (bbox_weights * smooth_l1(distance, 1.0)).sum(axis=1)


def smooth_l1(x: np.ndarray, sigma: float) -> np.ndarray:
    """0.5 (sigma x)^2 where |x| < 1 / sigma^2, else |x| - 0.5 / sigma^2. MXNet's `smooth_l1` with scalar=sigma."""
    square = sigma * sigma
    return np.where(np.abs(x) < 1 / square, 0.5 * square * x * x, np.abs(x) - 0.5 / square)
