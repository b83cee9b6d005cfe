"""Proposals that rounding does not decide: no two of one score, no RoI side where pooling would take other pixels."""

from collections.abc import Sequence

import numpy as np

from dcn_tasks.config import Config
from dcn_tasks.initial import normal
from dcn_tasks.network import NetworkSpec
from dcn_tasks.proposals import Proposals, propose_from_pyramid
from dcn_tasks.pyramid import levels_of, size_in_levels
from dcn_tasks.streams import Draws
from mxnet_ref.calibration.graph import Graph
from mxnet_ref.executor import Arrays
from mxnet_ref.heads.fpn import LEVELS as POOLED_LEVELS
from mxnet_ref.neck import Pyramid

SPREADS = 1 + np.arange(-16, 17) / 1024  # of the RPN's outputs that are tried, over the wanted one
MANY_ANCHORS = 100_000  # with more a try takes seconds
CROWDED = 12.0  # logit beyond which float32 knows fewer than a hundred scores below 1
CLEAR_GAP = 3 * 2.0**-24  # between two scores below 1: a rounding apart is a tie
UNTYING = 2.0**-10  # relative standard deviation of the noise on score weights that unties proposals
UNTYING_TRIES = 8


def rpn_levels(spec: NetworkSpec) -> list[str]:
    """What the RPN's node names end in, level by level."""
    return [f"_{level}" for level in Pyramid._fields] if spec.family == "fpn" else [""]


def put_background_ahead(graph: Graph) -> None:
    """Shifts a pyramid's anchor scores, in place, so that the best is 1/2 where it would be crowded against 1.

    Of 270 000 anchors the best 2000 lie within 0.003 of 1 otherwise, and dozens of them have one score.
    """
    levels = [
        logits[0] for logits in graph.read([f"rpn_cls_score{level}" for level in rpn_levels(graph.spec)]).values()
    ]
    num_anchors = graph.spec.num_anchors
    lead = max(float((logits[num_anchors:] - logits[:num_anchors]).max()) for logits in levels)
    if lead > CROWDED:
        graph.arg["rpn_cls_score_bias"][:num_anchors] += np.float32(lead)


def settle_proposals(graph: Graph) -> None:
    """Scales the RPN's outputs by up to 2 %, to where no proposals tie and RoI sides are farthest from being rounded otherwise."""
    cfg, spec = graph.cfg, graph.spec
    levels = rpn_levels(spec)
    names = [f"{layer}{level}" for layer in ("rpn_cls_score", "rpn_bbox_pred") for level in levels]
    found = list(graph.read(names).values())
    pairs = [np.split(logits[0].astype(np.float64), 2) for logits in found[: len(levels)]]
    deltas = [each[0] for each in found[len(levels) :]]
    margins = {}
    anchors = sum(len(back) * back[0].size for back, _ in pairs)
    for spread in SPREADS[:: 5 if anchors > MANY_ANCHORS else 1]:
        scores = [(1 / (1 + np.exp(spread * (back - front)))).astype(np.float32) for back, front in pairs]
        kept = proposals(cfg, scores, [spread * each for each in deltas], graph.inputs["im_info"][0])
        gap = np.diff(np.sort(kept.scores[: kept.num_valid, 0])).min(initial=1)
        margins[spread] = (min(gap, CLEAR_GAP), rounding_distance(spec, kept.rois))
    spread = max(margins, key=margins.__getitem__)
    for name in ("rpn_cls_score_weight", "rpn_cls_score_bias", "rpn_bbox_pred_weight", "rpn_bbox_pred_bias"):
        graph.arg[name] *= np.float32(spread)
    untie(graph, names)


def untie(graph: Graph, names: Sequence[str]) -> None:
    """Weights of the anchor scores a little off, in place, until MXNet's float32 gives no two proposals one score.

    Neither a factor on the scores nor one on the boxes parts two anchors whose logits are as good as equal.
    Args: names: the RPN's outputs.
    """
    weight = graph.arg["rpn_cls_score_weight"]
    for attempt in range(UNTYING_TRIES):
        if not tied_proposals(graph, graph.read(names)):
            return
        weight *= np.float32(1 + UNTYING * normal(f"untie {attempt}", weight.shape, 0))


def rounding_distance(spec: NetworkSpec, rois: np.ndarray) -> float:
    """How far the sides of RoIs [R, 5] are at least from where the head's pooling takes others, in image pixels.

    ROIPooling rounds cells of the map, the others image pixels; a pyramid's RoIs may also fall into another level.
    """
    strides, distance = np.asarray(spec.feature_strides), np.inf
    level = np.zeros(len(rois), np.intp)
    if spec.family == "fpn":
        level = levels_of(rois, len(POOLED_LEVELS), spec.level_side)
        size = size_in_levels(rois, spec.level_side)
        distance = float(np.abs(size - np.round(size)).min()) * spec.level_side
    rounds_cells = spec.family in ("rcnn", "fpn") and not spec.deform_roi_pooling
    unit = strides[level][:, None] if rounds_cells else 1.0
    sides = rois[:, 1:] / unit
    return min(distance, float((np.abs(sides - np.floor(sides) - 0.5) * unit).min()))


def proposals(
    cfg: Config, fg_scores: Sequence[np.ndarray], bbox_deltas: Sequence[np.ndarray], im_info: np.ndarray
) -> Proposals:
    """Test-time proposals of a network's RPN. Args: of every level, fg_scores [A, H, W] and bbox_deltas [4A, H, W]."""
    spec, test = NetworkSpec.from_config(cfg), cfg.TEST
    return propose_from_pyramid(
        fg_scores, bbox_deltas, im_info, feature_strides=spec.feature_strides,
        scales=spec.anchor_scales, ratios=spec.anchor_ratios, pre_nms_top_n=test.RPN_PRE_NMS_TOP_N,
        post_nms_top_n=test.RPN_POST_NMS_TOP_N, nms_thresh=test.RPN_NMS_THRESH, min_size=test.RPN_MIN_SIZE, draws=Draws(0),
    )  # fmt: skip


def tied_proposals(graph: Graph, outputs: Arrays) -> int:
    """Proposals that repeat another's score: their order would be luck. Args: outputs: of the RPN, by name."""
    behind = graph.given(outputs)
    prob = "rpn_cls_prob_t" if graph.spec.family == "fpn" else "rpn_cls_prob_reshape"
    levels = rpn_levels(graph.spec)
    found = behind.read([f"{prob}{level}" for level in levels])
    foreground = [value[0, value.shape[1] // 2 :] for value in found.values()]
    deltas = [outputs[f"rpn_bbox_pred{level}"][0] for level in levels]
    kept = proposals(graph.cfg, foreground, deltas, graph.inputs["im_info"][0])
    return kept.num_valid - len(np.unique(kept.scores[: kept.num_valid]))
