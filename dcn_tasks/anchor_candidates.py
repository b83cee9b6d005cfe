"""What a class-aware region proposal network detects: anchors with class probabilities, the likeliest of them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dcn_tasks.anchors import base_anchors, grid_anchors


@dataclass(frozen=True)
class Candidates:
    """rois [N, 5] = (0, x1, y1, x2, y2) anchors in network input pixels; cls_prob [N, C]; bbox_pred [N, 8] class-agnostic."""

    rois: np.ndarray
    cls_prob: np.ndarray
    bbox_pred: np.ndarray


def anchor_candidates(
    cls_prob: np.ndarray,
    bbox_deltas: np.ndarray,
    *,
    feature_stride: int,
    scales: Sequence[float],
    ratios: Sequence[float],
    top_n: int,
) -> Candidates:
    """The anchors whose likeliest object class is likeliest, in the order of the grid, for dcn_tasks.detections.

    Args:
        cls_prob: [C*A, H, W], class-major: the first A channels are background. bbox_deltas: [4A, H, W].
        top_n: as many anchors, or all where there are fewer; ties go to the anchor that comes first.
    Returns: arrays in the dtype of cls_prob; the first four numbers of bbox_pred, the background's slot, are 0.
    """
    base = base_anchors(feature_stride, ratios, scales)
    count, (height, width) = len(base), cls_prob.shape[1:]
    prob = cls_prob.reshape(-1, count, height, width).transpose(2, 3, 1, 0).reshape(height * width * count, -1)
    deltas = bbox_deltas.reshape(count, 4, height, width).transpose(2, 3, 0, 1).reshape(-1, 4)
    anchors = grid_anchors(base, height, width, feature_stride)
    kept = np.sort(np.argsort(-prob[:, 1:].max(axis=1), kind="stable")[:top_n])
    rois = np.concatenate([np.zeros((len(kept), 1)), anchors[kept]], axis=1)
    return Candidates(
        rois.astype(cls_prob.dtype), prob[kept], np.concatenate([np.zeros_like(deltas[kept]), deltas[kept]], axis=1)
    )
