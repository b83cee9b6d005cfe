"""Labels and regression targets of the RoIs (original `operator_py/proposal_target.py`, `core/rcnn.py` sample_rois)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dcn_tasks.boxes import bbox_overlaps, encode_boxes
from dcn_tasks.streams import Draws


@dataclass(frozen=True)
class RoiSamples:
    """rois: [S, 5]; labels: [S], 0 = background; bbox_targets, bbox_weights: [S, 4*num_reg_classes]. All float32."""

    rois: np.ndarray
    labels: np.ndarray
    bbox_targets: np.ndarray
    bbox_weights: np.ndarray


def sample_rois(
    rois: np.ndarray,
    gt_boxes: np.ndarray,
    *,
    batch_rois: int,
    fg_fraction: float,
    fg_thresh: float,
    bg_thresh_hi: float,
    bg_thresh_lo: float,
    num_reg_classes: int,
    class_agnostic: bool,
    bbox_means: Sequence[float],
    bbox_stds: Sequence[float],
    bbox_weights: Sequence[float],
    draws: Draws,
    padding_from_all: bool = True,
) -> RoiSamples:
    """RoIs and ground truth together, foreground first, labelled and with normalised targets.

    Args:
        rois: [R, 5] = (0, x1, y1, x2, y2); gt_boxes: [G, 5] = (x1, y1, x2, y2, class >= 1); scaled image pixels.
        batch_rois: RoIs to return; -1: as many as there are RoIs and ground truth boxes, R + G.
        draws: sites "proposal_target.fg", ".bg", ".padding".
        padding_from_all: where foreground and background are fewer than S (bg_thresh_lo above 0, or many objects), RoIs drawn
            from all fill up, labelled background though some are objects, as in the original. False: RoIs below fg_thresh
            fill up; where there are none, all with the labels they have.
    Returns: RoiSamples, S = batch_rois or R + G.
    Raises: ValueError when there is neither a RoI nor ground truth.
    """
    truth = np.zeros((len(gt_boxes), 5), rois.dtype)
    truth[:, 1:] = gt_boxes[:, :4]
    candidates = np.concatenate([rois, truth])
    if len(candidates) == 0:
        raise ValueError("sample_rois: expected at least one RoI or ground truth box, got none")
    size = len(candidates) if batch_rois == -1 else batch_rois
    most_foreground = size if batch_rois == -1 else round(fg_fraction * size)
    if len(gt_boxes):
        overlaps = bbox_overlaps(candidates[:, 1:], gt_boxes[:, :4])
        nearest, best = overlaps.argmax(axis=1), overlaps.max(axis=1)
        labels = gt_boxes[nearest, 4].astype(np.float32)
    else:
        nearest, best = np.zeros(len(candidates), int), np.zeros(len(candidates))
        labels = np.zeros(len(candidates), np.float32)
    foreground = np.flatnonzero(best >= fg_thresh)
    background = np.flatnonzero((best < bg_thresh_hi) & (best >= bg_thresh_lo))
    foreground = subset(foreground, most_foreground, draws, "proposal_target.fg")
    background = subset(background, size - len(foreground), draws, "proposal_target.bg")
    keep = np.concatenate([foreground, background])
    no_objects = np.flatnonzero(best < fg_thresh)
    filling = np.arange(len(candidates)) if padding_from_all or not len(no_objects) else no_objects
    while len(keep) < size:
        missing = min(len(filling), size - len(keep))
        keep = np.concatenate([keep, draws.choice("proposal_target.padding", filling, size=missing, replace=False)])
    kept_labels = labels[keep]
    if padding_from_all or len(no_objects):
        kept_labels[len(foreground) :] = 0
    targets: np.ndarray = np.zeros((len(keep), 4), np.float64)
    if len(gt_boxes):
        targets = encode_boxes(candidates[keep, 1:], gt_boxes[nearest[keep], :4])
        targets = (targets - np.asarray(bbox_means, np.float64)) / np.asarray(bbox_stds, np.float64)
    expanded, weights = expand_targets(
        targets, kept_labels, num_reg_classes=num_reg_classes, class_agnostic=class_agnostic, bbox_weights=bbox_weights
    )
    return RoiSamples(candidates[keep].astype(np.float32), kept_labels, expanded, weights)


def subset(members: np.ndarray, limit: int, draws: Draws, site: str) -> np.ndarray:
    """All members, or `limit` of them drawn without repetition."""
    return members if len(members) <= limit else draws.choice(site, members, size=limit, replace=False)


def expand_targets(
    targets: np.ndarray,
    labels: np.ndarray,
    *,
    num_reg_classes: int,
    class_agnostic: bool,
    bbox_weights: Sequence[float],
) -> tuple[np.ndarray, np.ndarray]:
    """[S, 4] targets in the four columns of their class (agnostic: slot 1), weights there, zeros elsewhere."""
    expanded = np.zeros((len(labels), num_reg_classes, 4), np.float32)
    weights = np.zeros_like(expanded)
    rows = np.flatnonzero(labels > 0)
    slots = np.ones(len(rows), int) if class_agnostic else labels[rows].astype(int)
    expanded[rows, slots] = targets[rows]
    weights[rows, slots] = np.asarray(bbox_weights, np.float32)
    return expanded.reshape(len(labels), -1), weights.reshape(len(labels), -1)
