"""VOC average precision against gluoncv and by hand."""

import math
from pathlib import Path

import numpy as np
import pytest

from dcn_tasks.detections import Detections
from dcn_tasks.voc_ap import GroundTruth, average_precision, evaluate
from tests.tolerances import SAME_AP


def scene(boxes: list, scores: list, classes: list | None = None) -> Detections:
    classes = [1] * len(scores) if classes is None else classes
    return Detections(np.array(boxes, float).reshape(-1, 4), np.array(scores, float), np.array(classes, int))


def truth(boxes: list, difficult: list | None = None, classes: list | None = None) -> GroundTruth:
    classes = [1] * len(boxes) if classes is None else classes
    return GroundTruth(np.array(boxes, float).reshape(-1, 4), np.array(classes, int), difficult and np.array(difficult))


A, B, FAR = [0, 0, 9, 9], [20, 20, 29, 29], [60, 60, 69, 69]


def test_area_under_the_envelope_by_hand() -> None:
    # found, missed, found, of 4 objects: precision 1, 1/2, 2/3 at recall 1/4, 1/4, 2/4
    recall, precision = np.array([0.25, 0.25, 0.5]), np.array([1, 0.5, 2 / 3])
    assert average_precision(recall, precision, use_07_metric=False) == pytest.approx(0.25 * 1 + 0.25 * 2 / 3)
    # 11 points: 0, .1, .2 see precision 1; .3, .4, .5 see 2/3; the others nothing
    assert average_precision(recall, precision, use_07_metric=True) == pytest.approx((3 * 1 + 3 * 2 / 3) / 11)


@pytest.mark.parametrize("use_07_metric", [False, True])
def test_everything_found_is_one_and_nothing_found_is_zero(use_07_metric: bool) -> None:
    objects = [truth([A, B])]
    assert evaluate([scene([A, B], [0.9, 0.8])], objects, [1], use_07_metric=use_07_metric).mean == pytest.approx(1)
    assert evaluate([scene([], [])], objects, [1], use_07_metric=use_07_metric).mean == 0


def test_second_detection_of_an_object_is_wrong() -> None:
    found = [scene([A, A, B], [0.9, 0.8, 0.7])]
    assert evaluate(found, [truth([A, B])], [1]).mean == pytest.approx(0.5 + 0.5 * 2 / 3)


def test_difficult_objects_count_neither_way() -> None:
    objects = [truth([A, B], difficult=[False, True])]
    assert evaluate([scene([B, B, A], [0.9, 0.8, 0.7])], objects, [1]).mean == pytest.approx(1)
    assert evaluate([scene([A], [0.7])], objects, [1]).mean == pytest.approx(1)


def test_overlap_equal_to_the_threshold_does_not_find() -> None:
    #  columns 0-2 and 1-3 of one row: IoU exactly 0.5
    found, objects = [scene([[0, 0, 2, 0]], [0.9])], [truth([[1, 0, 3, 0]])]
    assert evaluate(found, objects, [1], iou=0.5).mean == 0
    assert evaluate(found, objects, [1], iou=0.5, inclusive=True).mean == 1


def test_detections_of_another_image_or_class_find_nothing() -> None:
    assert evaluate([scene([B], [0.9]), scene([A], [0.9])], [truth([A]), truth([B])], [1]).mean == 0
    assert evaluate([scene([A], [0.9], [2])], [truth([A])], [1]).mean == 0


def test_class_without_objects_is_nan_and_left_out_of_the_mean() -> None:
    score = evaluate([scene([A, FAR], [0.9, 0.8], [1, 2])], [truth([A])], [1, 2])
    assert score.ap[1] == 1 and math.isnan(score.ap[2]) and score.mean == 1
    assert math.isnan(evaluate([scene([], [])], [truth([])], [1]).mean)


def test_lists_of_different_length_are_refused() -> None:
    with pytest.raises(ValueError, match="one list per image"):
        evaluate([scene([A], [1.0])], [], [1])


def gluoncv_ap(gluoncv, found, objects, names: list[str], *, iou: float, use_07_metric: bool) -> dict[int, float]:
    module = gluoncv.utils.metrics.voc_detection
    metric = (module.VOC07MApMetric if use_07_metric else module.VOCMApMetric)(iou_thresh=iou, class_names=names)
    for d, t in zip(found, objects, strict=True):
        difficult = None if t.difficult is None else t.difficult[None]
        rows = (d.boxes[None], d.classes[None] - 1, d.scores[None], t.boxes[None], t.classes[None] - 1, difficult)
        metric.update(*rows)
    _, values = metric.get()
    return dict(enumerate(values[:-1], start=1))


def random_images(seed: int) -> tuple[list[Detections], list[GroundTruth]]:
    rng = np.random.default_rng(seed)
    found, objects = [], []
    for _ in range(25):
        corner = rng.integers(0, 150, (6, 2))
        boxes = np.concatenate([corner, corner + rng.integers(15, 80, (6, 2))], axis=1).astype(float)
        classes = rng.integers(1, 4, 6)
        objects.append(GroundTruth(boxes, classes, rng.random(6) < 0.2))
        rows = rng.integers(0, 6, 12)
        moved = boxes[rows] + rng.integers(-12, 13, (12, 4))
        guessed = np.where(rng.random(12) < 0.8, classes[rows], rng.integers(1, 4, 12))
        found.append(Detections(moved, rng.random(12), guessed))
    return found, objects


@pytest.mark.mxnet
@pytest.mark.parametrize("iou", [0.5, 0.7])
@pytest.mark.parametrize("use_07_metric", [False, True])
@pytest.mark.parametrize("seed", [0, 1])
def test_ap_is_gluoncvs_on_random_images(gluoncv, seed: int, iou: float, use_07_metric: bool) -> None:
    found, objects = random_images(seed)
    theirs = gluoncv_ap(gluoncv, found, objects, ["a", "b", "c"], iou=iou, use_07_metric=use_07_metric)
    ours = evaluate(found, objects, [1, 2, 3], iou=iou, inclusive=True, use_07_metric=use_07_metric).ap
    assert min(ours.values()) > 0.02 and max(ours.values()) < 0.9
    assert ours == pytest.approx(theirs, abs=SAME_AP)


def stored_detections(folder: Path) -> tuple[list[Detections], list[GroundTruth], list[str]]:
    """85 images of stored detections: `class score x1 y1 x2 y2` and `class x1 y1 x2 y2 [difficult]` lines."""
    names: list[str] = []
    found, objects = [], []
    for path in sorted((folder / "ground-truth").glob("*.txt")):
        rows = [line.split() for line in path.read_text().splitlines()]
        guesses = [line.split() for line in (folder / "detection-results" / path.name).read_text().splitlines()]
        names += sorted({row[0] for row in rows + guesses} - set(names))
        difficult = np.array([row[-1] == "difficult" for row in rows])
        boxes = np.array([row[1:5] for row in rows], float)
        objects.append(GroundTruth(boxes, np.array([names.index(row[0]) + 1 for row in rows]), difficult))
        boxes, scores = np.array([row[2:6] for row in guesses], float), np.array([row[1] for row in guesses], float)
        classes = np.array([names.index(row[0]) + 1 for row in guesses], int)
        found.append(Detections(boxes.reshape(-1, 4), scores, classes))
    return found, objects, names


@pytest.mark.mxnet
@pytest.mark.parametrize("iou", [0.5, 0.7])
@pytest.mark.parametrize("use_07_metric", [False, True])
def test_ap_is_gluoncvs_on_stored_detections(gluoncv, data_folder: Path, iou: float, use_07_metric: bool) -> None:
    found, objects, names = stored_detections(data_folder / "detections_for_ap")
    theirs = gluoncv_ap(gluoncv, found, objects, names, iou=iou, use_07_metric=use_07_metric)
    score = evaluate(found, objects, range(1, len(names) + 1), iou=iou, inclusive=True, use_07_metric=use_07_metric)
    assert len(found) == 85 and 0.01 < score.mean < 0.9
    assert score.ap == pytest.approx(theirs, abs=SAME_AP, nan_ok=True)
