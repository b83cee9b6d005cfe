"""Detections that rounding does not decide: tried with noise of its size."""

import numpy as np

from dcn_tasks.config import Config
from dcn_tasks.detections import Detections, detections
from mxnet_ref.calibration.graph import Graph
from mxnet_ref.checkpoint import detection_weights, with_test_copies
from mxnet_ref.executor import BoundGraph
from mxnet_ref.heads.layout import layout_of

FACTORS = 1 + np.array([0, 1, -1, 2, -2, 3, -3, 4, -4, 5, -5, 6, -6, 7, -7, 8, -8]) / 512  # of box regression
DRAWS = 3
# float32 errors of ResNet-101's outputs at 600 x 1000, as MXNet's float64 shows them: standard deviations, rounded up
ROI_NOISE_PX, DELTA_NOISE, SCORE_NOISE = 3e-4, 2e-6, 5e-6  # the last one of a score's own size
SHOWN = 0.05  # detections above this score are looked at
SAME_PX, SAME_SCORE = 0.02, 1e-4


def settle_detections(graph: Graph) -> None:
    """Scales box regression by up to 2 %, in place, to where rounding changes the fewest detections; none as a rule.

    Suppression compares hundreds of thousands of overlaps with one threshold, and the best 300 boxes end at one score: by
    chance an overlap or a score lies within rounding of that.
    """
    layout = layout_of(graph.spec)
    layer = layout.boxes if layout else "rpn_bbox_pred"
    names = [name for name in (f"{layer}_weight", f"{layer}_bias") if name in graph.arg]
    wanted = {name: graph.arg[name].copy() for name in names}

    def scale(factor: float) -> None:
        for name, value in wanted.items():
            graph.arg[name][:] = np.float32(factor) * value

    changed = {}
    for factor in FACTORS:
        scale(factor)
        changed[factor] = changed_by_rounding(graph)
        if not changed[factor]:
            return
    scale(min(changed, key=changed.__getitem__))


def changed_by_rounding(graph: Graph) -> int:
    """Detections that noise of rounding's size makes or takes away, in all draws together."""
    arg = detection_weights(with_test_copies(graph.arg, graph.cfg))
    rois, scores, deltas = BoundGraph(graph.symbol, arg, graph.aux).outputs(graph.inputs)[-3:]
    im_info = graph.inputs["im_info"][0]
    generator = np.random.default_rng(0)

    def noise(array: np.ndarray, size: float) -> np.ndarray:
        return size * generator.standard_normal(array.shape)

    still = found_in(rois, scores, deltas, im_info, graph.cfg)
    changed = 0
    for _ in range(DRAWS):
        shaken = rois.astype(np.float64)
        shaken[:, 1:] += noise(shaken[:, 1:], ROI_NOISE_PX)
        other = scores * (1 + noise(scores, SCORE_NOISE)), deltas + noise(deltas, DELTA_NOISE)
        changed += unlike(still, found_in(shaken, *other, im_info, graph.cfg))
    return changed


def found_in(rois: np.ndarray, scores: np.ndarray, deltas: np.ndarray, im_info: np.ndarray, cfg: Config) -> Detections:
    """Detections from a test graph's outputs, by the rules of TEST at one scale."""
    return detections(
        rois, scores.reshape(len(rois), -1), deltas.reshape(len(rois), -1), im_info, class_agnostic=cfg.CLASS_AGNOSTIC,
        score_thresh=1e-3, nms_thresh=cfg.TEST.NMS, max_per_image=cfg.TEST.max_per_image,
    )  # fmt: skip


def unlike(one: Detections, other: Detections) -> int:
    """Boxes above SHOWN of either side that the other lacks; a score that crosses it within SAME_SCORE is no difference."""
    apart = np.abs(one.boxes[:, None] - other.boxes[None]).max(axis=2, initial=0.0)
    same = (apart < SAME_PX) & (one.classes[:, None] == other.classes[None])
    lonely = [~same.any(axis=axis) & (side.scores > SHOWN + SAME_SCORE) for axis, side in ((1, one), (0, other))]
    return sum(int(each.sum()) for each in lonely)
