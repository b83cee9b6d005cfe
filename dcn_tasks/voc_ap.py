"""Average precision as PASCAL VOC counts it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dcn_tasks.boxes import bbox_overlaps
from dcn_tasks.detections import Detections


@dataclass(frozen=True)
class GroundTruth:
    """One image: boxes [G, 4], classes [G] (1-based), difficult [G] (found or not, they don't count)."""

    boxes: np.ndarray
    classes: np.ndarray
    difficult: np.ndarray | None = None


@dataclass(frozen=True)
class Score:
    """ap: by class, NaN for a class without objects; mean: over the others."""

    ap: dict[int, float]
    mean: float


def average_precision(recall: np.ndarray, precision: np.ndarray, *, use_07_metric: bool) -> float:
    """Area under the interpolated precision-recall curve, or the mean at 11 recalls (VOC 2007).

    Args: recall, precision: [D], best detection first.
    """
    if use_07_metric:
        points = np.linspace(0, 1, 11)
        return float(np.mean([precision[recall >= point].max(initial=0.0) for point in points]))
    recall = np.concatenate([[0.0], recall, [1.0]])
    envelope = np.maximum.accumulate(np.concatenate([[0.0], precision, [0.0]])[::-1])[::-1]
    return float(np.sum(np.diff(recall) * envelope[1:]))


def evaluate(
    found: Sequence[Detections],
    truth: Sequence[GroundTruth],
    classes: Sequence[int],
    *,
    iou: float = 0.5,
    use_07_metric: bool = False,
    inclusive: bool = False,
) -> Score:
    """AP of every class over a set of images.

    Args: found, truth: one per image, same order. iou: an object is found when the overlap is greater than this, as in
        the original's `pascal_voc_eval`; inclusive: also when it is equal (VOC's own code, gluoncv, pycocotools).
    Raises: ValueError for lists of different length.
    """
    if len(found) != len(truth):
        raise ValueError(f"evaluate: expected one list per image, got {len(found)} detections, {len(truth)} truths")
    ap = {
        index: class_ap(found, truth, index, iou=iou, use_07_metric=use_07_metric, inclusive=inclusive)
        for index in classes
    }
    present = [value for value in ap.values() if not np.isnan(value)]
    return Score(ap, float(np.mean(present)) if present else float("nan"))


def class_ap(
    found: Sequence[Detections],
    truth: Sequence[GroundTruth],
    index: int,
    *,
    iou: float,
    use_07_metric: bool,
    inclusive: bool = False,
) -> float:
    """AP of one class; each object is matched once, by the best-scored detection that overlaps it most."""
    matches, total = [], 0
    first_object = 0  # number of an image's first object among those of all images
    for detected, annotated in zip(found, truth, strict=True):
        mine, of_class = detected.classes == index, annotated.classes == index
        easy = easy_flags(annotated)[of_class]
        total += int(easy.sum())
        match = matched(detected.boxes[mine], annotated.boxes[of_class], easy, iou, inclusive)
        match[:, 0] = np.where(match[:, 0] >= 0, match[:, 0] + first_object, -1)
        matches.append(np.column_stack([match, detected.scores[mine]]))
        first_object += len(easy)
    if total == 0:
        return float("nan")
    rows = np.concatenate(matches)
    rows = rows[np.argsort(-rows[:, 2], kind="stable")]
    objects = rows[:, 0].astype(np.intp)
    again = np.ones(len(rows), bool)  # an object found before; what finds none is "again" too, and wrong
    again[np.unique(objects, return_index=True)[1]] = False
    counted = rows[:, 1] > 0
    hit, miss = np.cumsum(counted & ~again & (objects >= 0)), np.cumsum(counted & (again | (objects < 0)))
    precision = hit / np.maximum(hit + miss, np.finfo(np.float64).eps)
    return average_precision(hit / total, precision, use_07_metric=use_07_metric)


def matched(boxes: np.ndarray, objects: np.ndarray, easy: np.ndarray, iou: float, inclusive: bool) -> np.ndarray:
    """[D, 2]: the object that each box finds (-1: none), and 1, or 0 where that object is difficult and nothing counts."""
    result = np.column_stack([np.full(len(boxes), -1.0), np.ones(len(boxes))])
    if len(boxes) and len(objects):
        overlaps = bbox_overlaps(boxes, objects)
        nearest = overlaps.argmax(axis=1)
        best = overlaps[np.arange(len(boxes)), nearest]
        finds = best >= iou if inclusive else best > iou
        result[finds, 0] = nearest[finds]
        result[finds, 1] = easy[nearest[finds]]
    return result


def easy_flags(truth: GroundTruth) -> np.ndarray:
    """[G] bool: objects that count."""
    return np.ones(len(truth.classes), bool) if truth.difficult is None else ~truth.difficult.astype(bool)
