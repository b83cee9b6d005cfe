"""Intersection over union of label maps (original `deeplab/core/tester.py`, `cityscape.py`, `pascal_voc.py`)."""

from collections.abc import Sequence

import cv2
import numpy as np

from dcn_tasks.config import Config
from dcn_tasks.segmentation import check_labels, confusion, image_labels, intersection_over_union, label_map


def image_confusion(prob: np.ndarray, image: np.ndarray, labels: np.ndarray, cfg: Config) -> np.ndarray:
    """[C, C] counts of an image's pixels by label and prediction.

    Args: prob: the network's [1, C, h, w]. image: [H, W, 3]. labels: [H, W].
    The prediction is enlarged to the image by the nearest pixel; of VOC, in `original` mode, the labels are shrunk to the
    prediction instead, as the original does.
    """
    count = cfg.dataset.NUM_CLASSES
    check_labels(image, labels, count)
    if cfg.dataset.dataset == "PascalVOC" and cfg.dataset.MODE == "original":
        predicted = label_map(prob)
        small = cv2.resize(labels.astype(np.uint8), predicted.shape[::-1], interpolation=cv2.INTER_NEAREST)
        return confusion(predicted, small, count)
    return confusion(image_labels(prob, image, cfg), labels, count)


def region_scores(counts: np.ndarray, class_names: Sequence[str], *, original: bool = True) -> dict[str, float]:
    """mIoU, pixel accuracy and the IoU of every class, percent.

    Args:
        counts: summed `image_confusion`, rows are labels.
        original: a class that neither labels nor predictions have counts as 0 in the mean; else it is left out.
    """
    iou = intersection_over_union(counts)
    seen = (counts.sum(axis=0) + counts.sum(axis=1)) > 0
    mean = iou.mean() if original else iou[seen].mean() if seen.any() else np.nan
    values = np.where(seen, iou, np.nan) if not original else iou
    scores = {"mIoU": 100 * float(mean), "pixel accuracy": 100 * float(np.diag(counts).sum() / max(1, counts.sum()))}
    return scores | {f"IoU {name}": 100 * float(value) for name, value in zip(class_names, values, strict=True)}
