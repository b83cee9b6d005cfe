"""RoIs, boxes, deformable operators."""

import numpy as np

from tests.convert_any.cases.case import case, numbers


def boxes(count: int, seed: int = 3, side: float = 1.0) -> np.ndarray:
    """[count, 4] corner boxes inside a square of `side`."""
    rng = np.random.default_rng(seed)
    start, extent = rng.uniform(0, 0.6, (count, 2)), rng.uniform(0.1, 0.4, (count, 2))
    return (np.concatenate([start, start + extent], 1) * side).astype(np.float32)


def detections(images: int, count: int, classes: int = 3) -> np.ndarray:
    """[images, count, 6] = (class, score, corners)."""
    rng = np.random.default_rng(5)
    rows = [np.column_stack([rng.integers(0, classes, count), rng.permutation(count) / count, boxes(count, seed)])
            for seed in range(images)]  # fmt: skip
    return np.stack(rows).astype(np.float32)


ROIS = np.column_stack([[0, 1, 0, 1], boxes(4, side=11.0)]).astype(np.float32)
ANCHORS = boxes(20)[None]
LABELS = np.full((2, 3, 5), -1, np.float32)
LABELS[0, :2] = np.column_stack([[1, 0], boxes(2, 9)])
LABELS[1, :1] = np.column_stack([[2], boxes(1, 11)])

NO_IMAGE = numbers((-1, -1, -1, -1, -1), (1, 2, 3, 8, 9), (-1, 0, 0, 5, 5))

CASES = {
    "_contrib_box_nms": {
        "class by class": case(detections(2, 30), overlap_thresh=0.3, valid_thresh=0.1, id_index=0),
        "all classes together": case(detections(2, 30), overlap_thresh=0.3, id_index=0, force_suppress=True, topk=10),
        "background left out": case(detections(1, 20), overlap_thresh=0.3, id_index=0, background_id=0),
        "to centres": case(detections(1, 20), overlap_thresh=0.3, out_format="center"),
        "nothing valid": case(detections(1, 20), valid_thresh=2.0),
        "one image without an axis": case(detections(1, 20)[0], overlap_thresh=0.3),
    },
    "_contrib_box_iou": {"corners": case(boxes(3), boxes(4, 8)), "centres": case(boxes(3), boxes(4, 8), format="center")},
    "_contrib_box_decode": {
        "centres": case((2, 20, 4), ANCHORS, std0=0.1, std1=0.1, std2=0.2, std3=0.2),
        "corners, cut": case((2, 20, 4), ANCHORS, format="corner", clip=0.5),
    },
    "_contrib_box_encode": {
        "offsets": case(numbers((1, -1, 1)), numbers((0, 1, 1)), boxes(3)[None], boxes(2, 9)[None],
                        numbers(0, 0, 0, 0), numbers(0.1, 0.1, 0.2, 0.2)),
    },
    "_contrib_bipartite_matching": {
        "threshold": case(((2, 4, 3), 0, 1), threshold=0.2),
        "topk is one pair more": case(((2, 5, 6), 0, 1), threshold=0.1, topk=2),
        "smallest first": case(((2, 4, 3), 0, 1), threshold=0.6, is_ascend=True, topk=1),
        "on the threshold, ties": case(numbers((0.5, 0.75, 0.25), (0.75, 0.5, 0.25), (0.5, 0.5, 0.5)), threshold=0.5),
    },
    "_contrib_MultiBoxPrior": {
        "sizes and ratios": case((1, 3, 4, 6), sizes="(0.2, 0.4)", ratios="(1, 2, 0.5)", only32=True),
        "cut, steps": case((1, 3, 2, 3), sizes="(0.9,)", clip=True, steps="(0.4, 0.3)", offsets="(0.3, 0.6)", only32=True),
    },
    "_contrib_MultiBoxDetection": {
        "class by class": case(((2, 4, 20), 0, 0.25), ((2, 80), -1, 1), ANCHORS, nms_threshold=0.3, threshold=0.1, only32=True),
        "all together": case(((1, 4, 20), 0, 0.25), ((1, 80), -1, 1), ANCHORS, nms_threshold=0.3, force_suppress=True, only32=True),
        "the best few": case(((2, 4, 20), 0, 0.25), ((2, 80), -1, 1), ANCHORS, nms_threshold=0.3, threshold=0.1, nms_topk=4, only32=True),
        "none suppressed": case(((1, 4, 20), 0, 0.25), ((1, 80), -1, 1), ANCHORS, nms_threshold=0, threshold=0.1, only32=True),
    },
    "_contrib_MultiBoxTarget": {
        "all negatives": case(ANCHORS, LABELS, (2, 4, 20), overlap_threshold=0.3, only32=True),
        "mined": case(ANCHORS, LABELS, (2, 4, 20), overlap_threshold=0.3, negative_mining_ratio=3, only32=True),
    },
    "_contrib_ROIAlign": {
        "two samples": case((2, 3, 12, 12), ROIS, pooled_size="(3, 3)", spatial_scale=1.0, sample_ratio=2),
        "as many as cells": case((2, 3, 12, 12), ROIS, pooled_size="(2, 3)", spatial_scale=0.5),
        "aligned": case((2, 3, 12, 12), ROIS, pooled_size="(3, 3)", spatial_scale=0.7, sample_ratio=2, aligned=True),
        "of no image": case((2, 3, 12, 12), NO_IMAGE, pooled_size="(3, 3)", spatial_scale=1.0, sample_ratio=2),
        "of no image, as many as cells": case((2, 3, 12, 12), NO_IMAGE, pooled_size="(2, 2)", spatial_scale=0.5),
    },
    "ROIPooling": {"rounded": case((2, 3, 12, 12), ROIS, pooled_size="(3, 3)", spatial_scale=0.7)},
    "_contrib_PSROIPooling": {"plain": case((2, 18, 12, 12), ROIS, spatial_scale=0.5, output_dim=2, pooled_size=3)},
    "_contrib_DeformablePSROIPooling": {
        "with offsets": case((2, 18, 12, 12), ROIS, ((4, 2, 3, 3), -1, 1), spatial_scale=0.5, output_dim=2, pooled_size=3,
                             group_size=3, part_size=3, sample_per_part=2, trans_std=0.1),
    },
    "_contrib_DeformableConvolution": {
        "border": case((1, 4, 7, 8), (1, 36, 7, 8), (4, 2, 3, 3), (4,), kernel="(3,3)", num_filter=4, pad="(1,1)", num_group=2,
                       num_deformable_group=2),
    },
    "_contrib_ModulatedDeformableConvolution": {
        "border": case((1, 4, 7, 8), (1, 18, 7, 8), ((1, 9, 7, 8), 0, 1), (4, 4, 3, 3), (4,), kernel="(3,3)", num_filter=4,
                       pad="(1,1)"),
    },
}  # fmt: skip
