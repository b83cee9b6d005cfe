"""Boxes [x1, y1, x2, y2] in pixels, far edge inclusive: a box one pixel wide has x2 == x1.

All arithmetic in float64, as in the original's NumPy code. Source: original `lib/bbox/bbox_transform.py`, spec 5.4.
"""

import numpy as np


def bbox_overlaps(boxes: np.ndarray, query: np.ndarray) -> np.ndarray:
    """Intersection over union of every pair.

    Args: boxes: [N, 4]; query: [K, 4].
    Returns: [N, K] float64 in [0, 1].
    """
    boxes, query = np.asarray(boxes, np.float64), np.asarray(query, np.float64)
    top_left = np.maximum(boxes[:, None, :2], query[None, :, :2])
    bottom_right = np.minimum(boxes[:, None, 2:4], query[None, :, 2:4])
    side = np.clip(bottom_right - top_left + 1, 0, None)
    intersection = side[..., 0] * side[..., 1]
    return intersection / (areas(boxes)[:, None] + areas(query)[None, :] - intersection)


def areas(boxes: np.ndarray) -> np.ndarray:
    """[N, 4] -> [N] pixels."""
    return (boxes[:, 2] - boxes[:, 0] + 1) * (boxes[:, 3] - boxes[:, 1] + 1)


def encode_boxes(rois: np.ndarray, gt: np.ndarray) -> np.ndarray:
    """Regression targets of `gt` seen from `rois`, row by row.

    Args: rois, gt: [N, 4].
    Returns: [N, 4] = dx, dy (in RoI sizes), dw, dh (log).
    """
    rois, gt = np.asarray(rois, np.float64), np.asarray(gt, np.float64)
    size, gt_size = rois[:, 2:4] - rois[:, :2] + 1, gt[:, 2:4] - gt[:, :2] + 1
    centre, gt_centre = rois[:, :2] + 0.5 * (size - 1), gt[:, :2] + 0.5 * (gt_size - 1)
    return np.concatenate([(gt_centre - centre) / (size + 1e-14), np.log(gt_size / size)], axis=1)


def decode_boxes(boxes: np.ndarray, deltas: np.ndarray) -> np.ndarray:
    """Boxes moved by regression deltas; the inverse of `encode_boxes`.

    Args: boxes: [N, 4]; deltas: [N, 4*K], one group of dx, dy, dw, dh per class.
    Returns: [N, 4*K].
    """
    boxes = np.asarray(boxes, np.float64)
    deltas = np.asarray(deltas, np.float64)
    groups = deltas.reshape(len(boxes), deltas.shape[1] // 4, 4)
    size = (boxes[:, 2:4] - boxes[:, :2] + 1)[:, None]
    centre = boxes[:, None, :2] + 0.5 * (size - 1)
    new_centre = groups[..., :2] * size + centre
    with np.errstate(over="ignore"):
        half = 0.5 * (np.exp(groups[..., 2:]) * size - 1)
    return np.concatenate([new_centre - half, new_centre + half], axis=2).reshape(deltas.shape)


def clip_boxes(boxes: np.ndarray, height: float, width: float) -> np.ndarray:
    """[N, 4*K] -> the same with x in [0, width-1] and y in [0, height-1]."""
    limits = np.array([width - 1, height - 1, width - 1, height - 1] * (boxes.shape[1] // 4), np.float64)
    return np.clip(boxes, 0, limits)
