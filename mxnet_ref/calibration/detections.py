"""Detections that rounding does not decide: tried on maps with noise of rounding's size."""

import math
from itertools import product
from typing import NamedTuple

import numpy as np

from dcn_tasks.config import Config
from dcn_tasks.detections import Detections, detections
from dcn_tasks.streams import Draws
from mxnet_ref.calibration.graph import Graph, cut
from mxnet_ref.calibration.proposals import rpn_levels, tied_proposals
from mxnet_ref.checkpoint import detection_weights, with_test_copies
from mxnet_ref.executor import Arrays, BoundGraph
from mxnet_ref.heads.layout import layout_of
from mxnet_ref.operators import set_draws
from mxnet_ref.second_stage import second_stage

FACTORS = 1 + np.array([0, 1, -1, 2, -2, 3, -3, 4, -4, 5, -5, 6, -6, 7, -7, 8, -8]) / 128  # of the RPN's box regression
DRAWS = 2
NOISE = (
    5e-7  # standard deviation, of a map's largest value: what float32 leaves of ResNet-101 at 600 x 1000, rounded up
)
SHOWN = 0.05  # detections above this score are looked at
SAME_PX, SAME_SCORE = 0.05, 1e-3


class Attempt(NamedTuple):
    """What a factor leads to; changed: detections that noise makes or takes away, in all draws together, and tied proposals."""

    factor: float
    changed: int
    detections: Detections


def settle_detections(graph: Graph) -> Detections:
    """Scales the RPN's box regression by up to 6 %, in place, to where rounding changes the fewest detections; none as a rule.

    Returns: what the network detects then.

    Suppression compares hundreds of thousands of overlaps with one threshold, the best boxes end at one score, pooling rounds
    RoIs to pixels or cells: by chance one of them lies within rounding of where it is decided.
    """
    deltas, maps = [f"rpn_bbox_pred{level}" for level in rpn_levels(graph.spec)], maps_before_decisions(graph)
    found = graph.read(maps)
    best = None
    # as a rule one of them changes none: in a first round each is given up at its first change
    for most, factor in product((0, math.inf), FACTORS):
        scaled = found | {name: np.float32(factor) * found[name] for name in deltas}
        best = attempt(graph, scaled, factor, fewer_than=best.changed if best else most + 1) or best
        if best and not best.changed:
            break
    for name in ("rpn_bbox_pred_weight", "rpn_bbox_pred_bias"):
        graph.arg[name] *= np.float32(best.factor)
    return best.detections


def maps_before_decisions(graph: Graph) -> list[str]:
    """The RPN's outputs, and the maps that RoIs are pooled from."""
    outputs = [f"{layer}{level}" for layer in ("rpn_cls_score", "rpn_bbox_pred") for level in rpn_levels(graph.spec)]
    return [*outputs, *(second_stage(graph.symbol).maps if layout_of(graph.spec) else ())]


def attempt(graph: Graph, maps: Arrays, factor: float, *, fewer_than: float) -> Attempt | None:
    """None as soon as so many are changed that another factor is as good: a pyramid's second stage takes seconds a draw."""
    changed = tied_proposals(graph, maps) if layout_of(graph.spec) else 0
    if changed >= fewer_than:
        return None
    arg = detection_weights(with_test_copies(graph.arg, graph.cfg))
    bound = BoundGraph(cut(graph.symbol, list(maps)), arg, graph.aux)
    generator = np.random.default_rng(0)

    def found(inputs: Arrays) -> Detections:
        set_draws(Draws(0, 0))
        im_info = graph.inputs["im_info"]
        return found_in(*bound.outputs({"im_info": im_info, **inputs})[-3:], im_info[0], graph.cfg)

    plain = found(maps)
    for _ in range(DRAWS):
        sizes = {name: NOISE * float(np.abs(value).max()) for name, value in maps.items()}
        shaken = {name: value + sizes[name] * generator.standard_normal(value.shape) for name, value in maps.items()}
        changed += unlike(plain, found(shaken))
        if changed >= fewer_than:
            return None
    return Attempt(factor, changed, plain)


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
    same &= np.abs(one.scores[:, None] - other.scores[None]) < SAME_SCORE
    lonely = [~same.any(axis=axis) & (side.scores > SHOWN + SAME_SCORE) for axis, side in ((1, one), (0, other))]
    return sum(int(each.sum()) for each in lonely)
