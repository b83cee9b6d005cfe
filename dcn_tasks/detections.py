"""From the network's outputs to the objects of an image (original `core/tester.py`)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dcn_tasks.box_average import average_boxes
from dcn_tasks.boxes import clip_boxes, decode_boxes
from dcn_tasks.config import Config
from dcn_tasks.nms import SoftMethod, nms, soft_nms


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


@dataclass(frozen=True)
class Suppression:
    """How candidates become detections.

    nms_thresh: a box that overlaps a better one of its class by more is dropped.
    max_per_image: ties of the last score are all kept, as in the original; 0: no limit.
    soft: Soft-NMS instead, with `soft_thresh`, of at most max_per_image boxes of each class.
    average_thresh: kept boxes become the mean of the candidates from this IoU on; None: they stay.
    """

    nms_thresh: float = 0.3
    max_per_image: int = 300
    soft: SoftMethod | None = None
    soft_thresh: float = 0.6
    average_thresh: float | None = None

    @staticmethod
    def from_config(cfg: Config) -> "Suppression":
        test = cfg.TEST
        return Suppression(
            nms_thresh=test.NMS,
            max_per_image=test.max_per_image,
            soft=test.SOFTNMS_METHOD if test.USE_SOFTNMS else None,
            soft_thresh=test.SOFTNMS_THRESH,
            average_thresh=test.BOX_AVERAGE_THRESH if test.BOX_AVERAGE else None,
        )

    def kept(self, dets: np.ndarray) -> np.ndarray:
        """Candidates of one class [N, 5] = x1, y1, x2, y2, score -> those that are kept [K, 5], best first."""
        if self.soft is None:
            result = dets[nms(dets, self.nms_thresh)]
        else:
            keep, scores = soft_nms(dets, self.soft_thresh, method=self.soft, max_dets=self.max_per_image or None)
            result = np.concatenate([dets[keep, :4], scores[:, None]], axis=1)
        if self.average_thresh is None:
            return result
        return np.concatenate([average_boxes(result[:, :4], dets, self.average_thresh), result[:, 4:]], axis=1)


def detections(
    rois: np.ndarray,
    cls_prob: np.ndarray,
    bbox_deltas: np.ndarray,
    im_info: Sequence[float] | np.ndarray,
    *,
    class_agnostic: bool,
    score_thresh: float,
    nms_thresh: float,
    max_per_image: int,
) -> Detections:
    """Decode, clip, scale back, suppress per class, cap. Arguments: as in `candidates` and `Suppression`."""
    found = candidates(rois, cls_prob, bbox_deltas, im_info, class_agnostic=class_agnostic, score_thresh=score_thresh)
    return suppress([found], Suppression(nms_thresh, max_per_image))


def candidates(
    rois: np.ndarray,
    cls_prob: np.ndarray,
    bbox_deltas: np.ndarray,
    im_info: Sequence[float] | np.ndarray,
    *,
    class_agnostic: bool,
    score_thresh: float,
) -> list[np.ndarray]:
    """Boxes of every class above a score, in pixels of the original image.

    Args:
        rois: [R, 5]; cls_prob: [R, C]; bbox_deltas: [R, 4*num_reg_classes], un-normalised.
        im_info: height, width (padding included), scale.
        score_thresh: boxes at or below it are dropped.
    Returns: of classes 1 .. C-1, [N, 5] each = x1, y1, x2, y2, score, in the order of the RoIs.
    """
    scale = float(np.asarray(im_info).reshape(-1)[2])
    boxes = decoded(rois, bbox_deltas, im_info) / scale
    found = []
    for index in range(1, cls_prob.shape[1]):
        scores = cls_prob[:, index].astype(np.float64)
        rows = np.flatnonzero(scores > score_thresh)
        column = 4 if class_agnostic else 4 * index
        found.append(np.concatenate([boxes[rows, column : column + 4], scores[rows, None]], axis=1))
    return found


def decoded(rois: np.ndarray, bbox_deltas: np.ndarray, im_info: Sequence[float] | np.ndarray) -> np.ndarray:
    """RoIs [R, 5] moved by their deltas [R, 4K] and clipped to the network's input, in its pixels: [R, 4K]."""
    height, width = (float(v) for v in np.asarray(im_info).reshape(-1)[:2])
    return clip_boxes(decode_boxes(rois[:, 1:5], bbox_deltas), height, width)


def suppress(found: Sequence[list[np.ndarray]], rules: Suppression) -> Detections:
    """The union of several looks at one image, suppressed class by class, and the best of it.

    Args: found: what `candidates` returned for each look.
    """
    tables = []
    for index, looks in enumerate(zip(*found, strict=True), start=1):
        dets = rules.kept(np.concatenate(looks))
        tables.append(np.concatenate([dets, np.full((len(dets), 1), index)], axis=1))
    table = np.concatenate(tables) if tables else np.zeros((0, 6))
    table = table[np.argsort(-table[:, 4], kind="stable")]
    if 0 < rules.max_per_image < len(table):
        table = table[table[:, 4] >= table[rules.max_per_image - 1, 4]]
    return Detections(table[:, :4], table[:, 4], table[:, 5].astype(np.int64))
