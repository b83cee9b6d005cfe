"""What a set of detections is worth, by the rules of its data set."""

from collections.abc import Sequence

import numpy as np

from dcn_tasks.config import Config
from dcn_tasks.data.coco import CocoDataset
from dcn_tasks.data.dataset import Dataset
from dcn_tasks.data.sample import Sample
from dcn_tasks.detections import Detections
from dcn_tasks.scoring.coco_ap import coco_scores
from dcn_tasks.voc_ap import GroundTruth, evaluate

IOUS = (0.5, 0.7)  # the paper's two


def detection_scores(found: Sequence[Detections], dataset: Dataset, cfg: Config) -> dict[str, float]:
    """Numbers by name, percent: COCO's twelve for COCO, else VOC's.

    Args: found: one for each sample, in order, in pixels of the image. cfg: dataset.dataset, MODE and test_image_set.
    """
    if isinstance(dataset, CocoDataset) and cfg.dataset.dataset == "coco":
        return coco_scores(found, dataset)
    samples = [dataset[index] for index in range(len(dataset))]
    voc = cfg.dataset.dataset == "PascalVOC"
    original = cfg.dataset.MODE == "original" and voc
    year = dataset.name.removeprefix("PASCAL VOC ")[:4]
    return voc_scores(
        written(found) if original else found,
        samples,
        dataset.class_names,
        use_07_metric=voc and year.isdigit() and int(year) < 2010,
        inclusive=not original,
    )


def voc_scores(
    found: Sequence[Detections],
    samples: Sequence[Sample],
    class_names: Sequence[str],
    *,
    use_07_metric: bool = False,
    inclusive: bool = True,
) -> dict[str, float]:
    """mAP at IoU 0.5 and 0.7, and each class's AP at 0.5, percent; NaN for a class without objects.

    Args: class_names: with the background first. use_07_metric: 11 points instead of the area. inclusive: see evaluate.
    """
    truth = [ground_truth(sample) for sample in samples]
    rule = "11 points" if use_07_metric else "area"
    scores: dict[str, float] = {}
    by_class: dict[str, float] = {}
    for iou in IOUS:
        score = evaluate(
            found, truth, range(1, len(class_names)), iou=iou, use_07_metric=use_07_metric, inclusive=inclusive
        )
        scores[f"mAP@{iou} ({rule})"] = 100 * score.mean
        if iou == IOUS[0]:
            by_class = {f"AP@{iou} {class_names[index]}": 100 * value for index, value in score.ap.items()}
    return scores | by_class


def ground_truth(sample: Sample) -> GroundTruth:
    """Every object of a sample; the difficult and the crowds count neither way."""
    return GroundTruth(sample.boxes, sample.classes, ~sample.trainable)


def written(found: Sequence[Detections]) -> list[Detections]:
    """Detections as the original reads them back from its result files: scores to 3 decimals, corners to 1."""
    return [
        Detections(rounded(each.boxes + 1, "%.1f") - 1, rounded(each.scores, "%.3f"), each.classes) for each in found
    ]


def rounded(values: np.ndarray, form: str) -> np.ndarray:
    return np.char.mod(form, values).astype(np.float64) if values.size else values
