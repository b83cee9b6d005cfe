"""Labels and regression targets of the anchors (original `lib/rpn/rpn.py`, assign_anchor)."""

from collections.abc import Sequence

import numpy as np

from dcn_tasks.anchors import base_anchors, grid_anchors
from dcn_tasks.boxes import bbox_overlaps, encode_boxes
from dcn_tasks.streams import Draws


def assign_anchors(
    feat_h: int,
    feat_w: int,
    gt_boxes: np.ndarray,
    im_info: Sequence[float],
    *,
    feature_stride: int,
    scales: Sequence[float],
    ratios: Sequence[float],
    draws: Draws,
    allowed_border: float = 0,
    batch_size: int = 256,
    fg_fraction: float = 0.5,
    positive_overlap: float = 0.7,
    negative_overlap: float = 0.3,
    clobber_positives: bool = False,
    bbox_weights: Sequence[float] = (1.0, 1.0, 1.0, 1.0),
    class_aware: bool = False,
) -> dict[str, np.ndarray]:
    """Which anchors are objects, which are not, and where the objects are.

    Args:
        gt_boxes: [G, >=4] scaled image pixels; G may be 0. class_aware: positives carry the class of the object that they
            overlap most, the fifth column of gt_boxes, instead of 1.
        im_info: height, width, scale. allowed_border: pixels by which an anchor may leave the image and still be used.
        batch_size: anchors that carry a label; fg_fraction: at most this part of them positive.
        draws: sites "anchors.fg" and "anchors.bg" choose which surplus anchors are disabled.
    Returns: float32 label [1, A*H*W] (1, 0, -1 = ignored; anchor-major), bbox_target and bbox_weight [1, 4A, H, W].
    """
    base = base_anchors(feature_stride, ratios, scales)
    anchors = grid_anchors(base, feat_h, feat_w, feature_stride)
    height, width = float(im_info[0]), float(im_info[1])
    inside = np.flatnonzero(
        (anchors[:, 0] >= -allowed_border)
        & (anchors[:, 1] >= -allowed_border)
        & (anchors[:, 2] < width + allowed_border)
        & (anchors[:, 3] < height + allowed_border)
    )
    labels = np.full(len(inside), -1.0, np.float32)
    targets = np.zeros((len(inside), 4), np.float32)
    if len(gt_boxes) and len(inside):
        overlaps = bbox_overlaps(anchors[inside], gt_boxes[:, :4])
        nearest = overlaps.argmax(axis=1)
        best = overlaps[np.arange(len(inside)), nearest]
        is_best_of_a_gt = (overlaps == overlaps.max(axis=0)).any(axis=1)  # ties included, overlap 0 too
        if not clobber_positives:
            labels[best < negative_overlap] = 0
        labels[is_best_of_a_gt] = 1
        labels[best >= positive_overlap] = 1
        if clobber_positives:
            labels[best < negative_overlap] = 0
        targets = encode_boxes(anchors[inside], gt_boxes[nearest, :4]).astype(np.float32)
    else:
        labels[:] = 0
    disable_surplus(labels, 1, int(fg_fraction * batch_size), draws, "anchors.fg")
    disable_surplus(labels, 0, batch_size - int((labels == 1).sum()), draws, "anchors.bg")
    positive = labels == 1
    if class_aware and positive.any():
        labels[positive] = gt_boxes[nearest[positive], 4]
    weights = np.where(positive[:, None], np.asarray(bbox_weights, np.float32), np.float32(0))
    return {
        "label": to_map(labels, inside, (feat_h, feat_w, len(base)), fill=-1).reshape(1, -1),
        "bbox_target": to_map(targets, inside, (feat_h, feat_w, len(base)), fill=0)[None],
        "bbox_weight": to_map(weights, inside, (feat_h, feat_w, len(base)), fill=0)[None],
    }


def disable_surplus(labels: np.ndarray, kind: int, limit: int, draws: Draws, site: str) -> None:
    """Set all but `limit` labels of one kind to -1, in place."""
    members = np.flatnonzero(labels == kind)
    if len(members) > limit:
        labels[draws.choice(site, members, size=len(members) - limit, replace=False)] = -1


def to_map(values: np.ndarray, inside: np.ndarray, grid: tuple[int, int, int], *, fill: float) -> np.ndarray:
    """Values of the anchors inside, [n] or [n, 4], as [A, H, W] or [4A, H, W] over all anchors of grid (H, W, A)."""
    feat_h, feat_w, num_anchors = grid
    width = 1 if values.ndim == 1 else values.shape[1]
    full = np.full((feat_h * feat_w * num_anchors, width), fill, np.float32)
    full[inside] = values.reshape(-1, width)
    return full.reshape(feat_h, feat_w, num_anchors * width).transpose(2, 0, 1)
