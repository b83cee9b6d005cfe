"""Labels and regression targets of the anchors (original `lib/rpn/rpn.py`, assign_anchor)."""

from collections.abc import Sequence
from typing import Any

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
    untouched_positives: bool = True,
) -> dict[str, np.ndarray]:
    """Which anchors are objects, which are not, and where the objects are.

    Args:
        gt_boxes: [G, >=4] scaled image pixels; G may be 0. class_aware: positives carry the class of the object that they
            overlap most, the fifth column of gt_boxes, instead of 1.
        im_info: height, width, scale. allowed_border: pixels by which an anchor may leave the image and still be used.
        batch_size: anchors that carry a label; fg_fraction: at most this part of them positive.
        untouched_positives: the original's rule for an object that no anchor overlaps: all anchors share its best overlap, 0,
            so all are positive; False: none is for its sake.
        draws: sites "anchors.fg" and "anchors.bg" choose which surplus anchors are disabled.
    Returns: float32 label [1, A*H*W] (1, 0, -1 = ignored; anchor-major), bbox_target and bbox_weight [1, 4A, H, W].
    """
    (label, target, weight) = pyramid_targets(
        [(feat_h, feat_w)], gt_boxes, im_info, feature_strides=[feature_stride], scales=scales, ratios=ratios, draws=draws,
        allowed_border=allowed_border, batch_size=batch_size, fg_fraction=fg_fraction, positive_overlap=positive_overlap,
        negative_overlap=negative_overlap, clobber_positives=clobber_positives, bbox_weights=bbox_weights,
        class_aware=class_aware, untouched_positives=untouched_positives,
    )[0]  # fmt: skip
    return {"label": label.reshape(1, -1), "bbox_target": target[None], "bbox_weight": weight[None]}


def assign_pyramid_anchors(
    sizes: Sequence[tuple[int, int]], gt_boxes: np.ndarray, im_info: Sequence[float], **settings: Any
) -> dict[str, np.ndarray]:
    """As `assign_anchors`, over the anchors of all levels together; those that leave the image are used too.

    Args: sizes: rows and columns of every level. settings: of pyramid_targets.
    Returns: float32 label [1, sum of A*H*W], level after level, anchor-major in each; bbox_target and bbox_weight
        [1, 4A, sum of H*W].
    Source: `lib/rpn/rpn.py`, assign_pyramid_anchor with an infinite allowed border.
    """
    levels = pyramid_targets(sizes, gt_boxes, im_info, allowed_border=np.inf, **settings)
    label, target, weight = zip(*levels, strict=True)
    return {
        "label": np.concatenate([each.reshape(-1) for each in label])[None],
        "bbox_target": np.concatenate([each.reshape(len(each), -1) for each in target], axis=1)[None],
        "bbox_weight": np.concatenate([each.reshape(len(each), -1) for each in weight], axis=1)[None],
    }


def pyramid_targets(
    sizes: Sequence[tuple[int, int]],
    gt_boxes: np.ndarray,
    im_info: Sequence[float],
    *,
    feature_strides: Sequence[int],
    scales: Sequence[float],
    ratios: Sequence[float],
    draws: Draws,
    allowed_border: float,
    batch_size: int,
    fg_fraction: float,
    positive_overlap: float,
    negative_overlap: float,
    clobber_positives: bool,
    bbox_weights: Sequence[float],
    class_aware: bool = False,
    untouched_positives: bool = True,
) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Of every level label [A, H, W], target and weight [4A, H, W]; arguments as in `assign_anchors`."""
    bases = [base_anchors(stride, ratios, scales) for stride in feature_strides]
    grids = [
        grid_anchors(base, *size, stride) for base, size, stride in zip(bases, sizes, feature_strides, strict=True)
    ]
    anchors = np.concatenate(grids)
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
        best_of_gt = overlaps.max(axis=0)
        counted = untouched_positives | (best_of_gt > 0)
        is_best_of_a_gt = ((overlaps == best_of_gt) & counted).any(axis=1)  # ties included
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
    maps = [
        scattered(values, inside, len(anchors), fill) for values, fill in ((labels, -1), (targets, 0), (weights, 0))
    ]
    ends = np.cumsum([len(grid) for grid in grids])[:-1]
    parts = zip(*(np.split(values, ends) for values in maps), strict=True)
    grid_shapes = [(*size, len(base)) for size, base in zip(sizes, bases, strict=True)]
    return [
        (to_map(label, shape), to_map(target, shape), to_map(weight, shape))
        for (label, target, weight), shape in zip(parts, grid_shapes, strict=True)
    ]


def disable_surplus(labels: np.ndarray, kind: int, limit: int, draws: Draws, site: str) -> None:
    """Set all but `limit` labels of one kind to -1, in place."""
    members = np.flatnonzero(labels == kind)
    if len(members) > limit:
        labels[draws.choice(site, members, size=len(members) - limit, replace=False)] = -1


def scattered(values: np.ndarray, inside: np.ndarray, count: int, fill: float) -> np.ndarray:
    """Values of the anchors inside, [n] or [n, 4], as [count, 1] or [count, 4] of all anchors."""
    full = np.full((count, 1 if values.ndim == 1 else values.shape[1]), fill, np.float32)
    full[inside] = values if values.ndim == 2 else values[:, None]
    return full


def to_map(values: np.ndarray, grid: tuple[int, int, int]) -> np.ndarray:
    """[H*W*A, width] values of a level's anchors as [A*width, H, W]; grid: (H, W, A)."""
    feat_h, feat_w, num_anchors = grid
    return values.reshape(feat_h, feat_w, num_anchors * values.shape[1]).transpose(2, 0, 1)
