"""Non-maximum suppression with the far edge inclusive, hard and soft."""

from typing import Literal, get_args

import numpy as np

from dcn_tasks.boxes import areas
from dcn_tasks.errors import InputError

TOGETHER = 64  # boxes kept before the suppressed ones are taken out: looking at them costs less than moving all others
SoftMethod = Literal["gaussian", "linear"]


def nms(dets: np.ndarray, thresh: float, max_keep: int | None = None) -> np.ndarray:
    """Greedy suppression of boxes that overlap a better one by more than `thresh`.

    Args: dets: [N, 5] = x1, y1, x2, y2, score. thresh: of IoU, at least 0. max_keep: stop after this many; None: no limit.
    Returns: indices of the kept rows, best first; equal scores keep their order.
    Raises: InputError for a thresh below 0.
    Source: original `lib/nms/nms.py`: kept while IoU <= thresh.
    """
    if not thresh >= 0:
        raise InputError(f"nms: expected a threshold of at least 0, got {thresh}: set TEST.NMS or RPN_NMS_THRESH")
    dets = np.asarray(dets, np.float64)
    order = np.argsort(-dets[:, 4], kind="stable")
    boxes = dets[order, :4]
    sides, area = np.ascontiguousarray(boxes.T), areas(boxes)
    place: np.ndarray = np.arange(len(boxes))  # of the columns of sides, in order
    keep: list[int] = []
    while len(place) and (max_keep is None or len(keep) < max_keep):
        gone = np.zeros(len(place), bool)
        best = 0
        for _ in range(TOGETHER):
            keep.append(int(place[best]))
            gone[: best + 1] = True
            near = best + 1 + np.flatnonzero(touching(best, sides))
            gone[near[overlaps_with(best, near, sides, area) > thresh]] = True
            best = int(np.argmin(gone))
            if gone[best] or len(keep) == max_keep:
                break
        sides, area, place = sides[:, ~gone], area[~gone], place[~gone]
    return order[np.array(keep, dtype=np.intp)]


def soft_nms(
    dets: np.ndarray, thresh: float, *, method: SoftMethod = "gaussian", max_dets: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Lower the scores of boxes that overlap a better one, instead of dropping them (Bodla et al. 2017).

    Args:
        dets: [N, 5] = x1, y1, x2, y2, score.
        thresh: gaussian: scores times exp(-IoU^2 / thresh); linear: times 1 - IoU where IoU >= thresh.
        max_dets: stop after this many; None: no limit, every box is kept.
    Returns: indices of the kept rows in the order of their choice and their lowered scores, which never rise in that
        order; of equal scores the lower index comes first.
    Raises: InputError for an unknown method, or a thresh of gaussian that is not positive.
    Source: original `lib/nms/nms.py`, soft_nms and rescore; no floor below which a box is dropped, as there.
    """
    if method not in get_args(SoftMethod):
        raise InputError(f"soft_nms: method: expected gaussian or linear, got {method!r}: set TEST.SOFTNMS_METHOD")
    if method == "gaussian" and not thresh > 0:
        raise InputError(f"soft_nms: expected a positive width, got {thresh}: set TEST.SOFTNMS_THRESH")
    boxes, scores = np.asarray(dets[:, :4], np.float64), np.array(dets[:, 4], np.float64)
    sides, area = np.ascontiguousarray(boxes.T), areas(boxes)
    alive: np.ndarray = np.arange(len(boxes))
    keep: list[int] = []
    while len(alive) and (max_dets is None or len(keep) < max_dets):
        place = int(np.argmax(scores[alive]))
        best, alive = alive[place], np.delete(alive, place)
        keep.append(best)
        overlap = overlaps_with(best, alive, sides, area)
        if method == "linear":
            scores[alive] *= np.where(overlap >= thresh, 1 - overlap, 1)
        else:
            scores[alive] *= np.exp(-(overlap**2) / thresh)
    kept = np.array(keep, dtype=np.intp)
    return kept, scores[kept]


def touching(one: int, sides: np.ndarray) -> np.ndarray:
    """Which of the boxes behind it may overlap with one of sides [4, N], bool; a pixel too many rather than one too few."""
    x1, y1, x2, y2 = sides[:, one + 1 :]
    left, top, right, bottom = sides[:, one]
    return (x1 <= right + 2) & (x2 >= left - 2) & (y1 <= bottom + 2) & (y2 >= top - 2)


def overlaps_with(one: int, others: np.ndarray, sides: np.ndarray, area: np.ndarray) -> np.ndarray:
    """IoU of one box with others, by their places in sides [4, N] (x1, y1, x2, y2) and area [N]."""
    x1, y1, x2, y2 = sides
    side_x = np.minimum(x2[one], x2[others]) - np.maximum(x1[one], x1[others]) + 1
    side_y = np.minimum(y2[one], y2[others]) - np.maximum(y1[one], y1[others]) + 1
    intersection = np.maximum(side_x, 0) * np.maximum(side_y, 0)
    return intersection / (area[one] + area[others] - intersection)
