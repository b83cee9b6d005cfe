"""From the network's outputs to the objects of an image (original `core/tester.py`)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dcn_tasks.boxes import clip_boxes, decode_boxes
from dcn_tasks.nms import nms


@dataclass(frozen=True)
class Detections:
    """boxes: [D, 4] pixels of the original image; scores: [D]; classes: [D], 1-based. Best first."""

    boxes: np.ndarray
    scores: np.ndarray
    classes: np.ndarray

    def __len__(self) -> int:
        return len(self.scores)

    def above(self, score: float) -> "Detections":
        """Those with at least this score."""
        keep = self.scores >= score
        return Detections(self.boxes[keep], self.scores[keep], self.classes[keep])


def detections(
    rois: np.ndarray,
    cls_prob: np.ndarray,
    bbox_deltas: np.ndarray,
    im_info: Sequence[float],
    *,
    class_agnostic: bool,
    score_thresh: float,
    nms_thresh: float,
    max_per_image: int,
) -> Detections:
    """Decode, clip, scale back, suppress per class, cap.

    Args:
        rois: [R, 5]; cls_prob: [R, C]; bbox_deltas: [R, 4*num_reg_classes], un-normalised.
        im_info: height, width (padding included), scale.
        score_thresh: boxes at or below it are dropped. max_per_image: ties of the last score are all kept, as in the
            original; 0: no limit.
    """
    height, width, scale = (float(v) for v in np.asarray(im_info).reshape(-1)[:3])
    boxes = clip_boxes(decode_boxes(rois[:, 1:5], bbox_deltas), height, width) / scale
    found = []
    for index in range(1, cls_prob.shape[1]):
        scores = cls_prob[:, index].astype(np.float64)
        rows = np.flatnonzero(scores > score_thresh)
        column = 4 if class_agnostic else 4 * index
        dets = np.concatenate([boxes[rows, column : column + 4], scores[rows, None]], axis=1)
        dets = dets[nms(dets, nms_thresh)]
        found.append(np.concatenate([dets, np.full((len(dets), 1), index)], axis=1))
    table = np.concatenate(found) if found else np.zeros((0, 6))
    table = table[np.argsort(-table[:, 4], kind="stable")]
    if 0 < max_per_image < len(table):
        table = table[table[:, 4] >= table[max_per_image - 1, 4]]
    return Detections(table[:, :4], table[:, 4], table[:, 5].astype(np.int64))
