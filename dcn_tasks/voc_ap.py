"""Average precision as PASCAL VOC counts it."""

from collections.abc import Mapping, Sequence
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
) -> Score:
    """AP of every class over a set of images.

    Args: found, truth: one per image, same order. iou: an object is found when the overlap is greater than this, as in
        the original's `pascal_voc_eval` (VOC's own code, gluoncv and pycocotools also count equality).
    Raises: ValueError for lists of different length.
    """
    if len(found) != len(truth):
        raise ValueError(f"evaluate: expected one list per image, got {len(found)} detections, {len(truth)} truths")
    ap = {index: class_ap(found, truth, index, iou=iou, use_07_metric=use_07_metric) for index in classes}
    present = [value for value in ap.values() if not np.isnan(value)]
    return Score(ap, float(np.mean(present)) if present else float("nan"))


def class_ap(
    found: Sequence[Detections], truth: Sequence[GroundTruth], index: int, *, iou: float, use_07_metric: bool
) -> float:
    """AP of one class; each object is matched once, by the best-scored detection that overlaps it most."""
    objects = {image: t.boxes[t.classes == index] for image, t in enumerate(truth)}
    easy = {image: easy_flags(t)[t.classes == index] for image, t in enumerate(truth)}
    total = sum(int(flags.sum()) for flags in easy.values())
    if total == 0:
        return float("nan")
    rows = [
        (float(score), image, box)
        for image, d in enumerate(found)
        for box, score in zip(d.boxes[d.classes == index], d.scores[d.classes == index], strict=True)
    ]
    rows.sort(key=lambda row: -row[0])
    hits, misses = np.zeros(len(rows)), np.zeros(len(rows))
    taken: Mapping[int, set[int]] = {image: set() for image in objects}
    for place, (_, image, box) in enumerate(rows):
        overlaps = bbox_overlaps(box[None], objects[image])[0]
        nearest = int(overlaps.argmax()) if len(overlaps) else -1
        if nearest < 0 or overlaps[nearest] <= iou:
            misses[place] = 1
        elif easy[image][nearest]:
            (misses if nearest in taken[image] else hits)[place] = 1
            taken[image].add(nearest)
    hit, miss = np.cumsum(hits), np.cumsum(misses)
    precision = hit / np.maximum(hit + miss, np.finfo(np.float64).eps)
    return average_precision(hit / total, precision, use_07_metric=use_07_metric)


def easy_flags(truth: GroundTruth) -> np.ndarray:
    """[G] bool: objects that count."""
    return np.ones(len(truth.classes), bool) if truth.difficult is None else ~truth.difficult.astype(bool)
