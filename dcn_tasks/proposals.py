"""Region proposals by the rules of the original's Python operator (`operator_py/proposal.py`)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dcn_tasks.anchors import base_anchors, grid_anchors
from dcn_tasks.boxes import clip_boxes, decode_boxes
from dcn_tasks.nms import nms
from dcn_tasks.streams import Draws


@dataclass(frozen=True)
class Proposals:
    """rois: [post, 5] float32 = (0, x1, y1, x2, y2), image pixels. scores: [post, 1] float32.
    num_valid: rows that are distinct proposals; the rest repeat some of them."""

    rois: np.ndarray
    scores: np.ndarray
    num_valid: int


def propose(
    fg_scores: np.ndarray,
    bbox_deltas: np.ndarray,
    im_info: Sequence[float],
    *,
    feature_stride: int,
    scales: Sequence[float],
    ratios: Sequence[float],
    pre_nms_top_n: int,
    post_nms_top_n: int,
    nms_thresh: float,
    min_size: float,
    draws: Draws,
) -> Proposals:
    """Anchors moved by their deltas, clipped, filtered by size, best first, suppressed, padded by repetition.

    Args:
        fg_scores: [A, H, W] foreground probabilities; bbox_deltas: [4A, H, W].
        im_info: height, width (image pixels, padding included), scale. Rows and columns of the maps beyond
            floor(side / feature_stride) are not used, as in the original.
        min_size: of a box's sides, in pixels of the unscaled image. pre_nms_top_n <= 0: no limit.
        draws: the repetitions come from its site "proposal.padding".
    Raises: ValueError when no box is large enough.
    """
    height, width, scale = (float(v) for v in im_info[:3])
    rows = min(int(height / feature_stride), fg_scores.shape[1])
    columns = min(int(width / feature_stride), fg_scores.shape[2])
    base = base_anchors(feature_stride, ratios, scales)
    anchors = grid_anchors(base, rows, columns, feature_stride)
    scores = fg_scores[:, :rows, :columns].transpose(1, 2, 0).reshape(-1)
    deltas = bbox_deltas[:, :rows, :columns].transpose(1, 2, 0).reshape(-1, 4)
    boxes = clip_boxes(decode_boxes(anchors, deltas), height, width)

    large = (boxes[:, 2:] - boxes[:, :2] + 1 >= min_size * scale).all(1)
    boxes, scores = boxes[large], scores[large]
    order = np.argsort(-scores, kind="stable")
    order = order[:pre_nms_top_n] if pre_nms_top_n > 0 else order
    boxes, scores = boxes[order], scores[order]
    keep = nms(np.concatenate([boxes, scores[:, None]], axis=1), nms_thresh, max_keep=post_nms_top_n)
    if len(keep) == 0:
        raise ValueError(f"propose: no box of at least {min_size * scale:g} px is left: are scores or deltas NaN?")
    num_valid = len(keep)
    if num_valid < post_nms_top_n:
        padding = draws.choice("proposal.padding", num_valid, size=post_nms_top_n - num_valid, replace=True)
        keep = np.concatenate([keep, keep[padding]])
    rois = np.zeros((post_nms_top_n, 5), np.float32)
    rois[:, 1:] = boxes[keep]
    return Proposals(rois, scores[keep].astype(np.float32)[:, None], num_valid)
