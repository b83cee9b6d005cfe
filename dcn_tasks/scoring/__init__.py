"""How well a network does: average precision as VOC and as COCO count it, intersection over union, accuracy."""

from dcn_tasks.scoring.classification import accuracy
from dcn_tasks.scoring.coco_ap import coco_results, coco_scores
from dcn_tasks.scoring.detection import detection_scores, ground_truth, voc_scores
from dcn_tasks.scoring.regions import image_confusion, region_scores

__all__ = [
    "accuracy",
    "coco_results",
    "coco_scores",
    "detection_scores",
    "ground_truth",
    "image_confusion",
    "region_scores",
    "voc_scores",
]
