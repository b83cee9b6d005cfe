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
    return propose_from_pyramid(
        [fg_scores], [bbox_deltas], im_info, feature_strides=[feature_stride], scales=scales, ratios=ratios,
        pre_nms_top_n=pre_nms_top_n, post_nms_top_n=post_nms_top_n, nms_thresh=nms_thresh, min_size=min_size, draws=draws,
    )  # fmt: skip


def propose_from_pyramid(
    fg_scores: Sequence[np.ndarray],
    bbox_deltas: Sequence[np.ndarray],
    im_info: Sequence[float],
    *,
    feature_strides: Sequence[int],
    scales: Sequence[float],
    ratios: Sequence[float],
    pre_nms_top_n: int,
    post_nms_top_n: int,
    nms_thresh: float,
    min_size: float,
    draws: Draws,
) -> Proposals:
    """As `propose`, the boxes of all levels competing with each other; of equal scores the finer level's come first.

    Args: fg_scores, bbox_deltas: of every level, in the order of feature_strides; the others as in `propose`.
    Source: the original's `fpn/operator_py/pyramid_proposal.py`.
    """
    height, width, scale = (float(v) for v in im_info[:3])
    levels = zip(fg_scores, bbox_deltas, feature_strides, strict=True)
    found = [
        level_boxes(scores, deltas, base_anchors(stride, ratios, scales), stride, (height, width))
        for scores, deltas, stride in levels
    ]
    boxes, scores = (np.concatenate(parts) for parts in zip(*found, strict=True))

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


def level_boxes(
    fg_scores: np.ndarray, bbox_deltas: np.ndarray, base: np.ndarray, stride: int, size: tuple[float, float]
) -> tuple[np.ndarray, np.ndarray]:
    """[N, 4] anchors of one level moved by their deltas and clipped into an image of size (height, width); [N] scores."""
    height, width = size
    rows = min(int(height / stride), fg_scores.shape[1])
    columns = min(int(width / stride), fg_scores.shape[2])
    anchors = grid_anchors(base, rows, columns, stride)
    scores = fg_scores[:, :rows, :columns].transpose(1, 2, 0).reshape(-1)
    deltas = bbox_deltas[:, :rows, :columns].transpose(1, 2, 0).reshape(-1, 4)
    return clip_boxes(decode_boxes(anchors, deltas), height, width), scores
