"""Heads: scores, deltas and part offsets with the spreads of a trained network."""

import numpy as np

from dcn_tasks.pyramid import levels_of
from dcn_tasks.segmentation import label_map
from mxnet_ref.calibration.graph import Graph
from mxnet_ref.calibration.proposals import put_background_ahead, rpn_levels, settle_proposals
from mxnet_ref.heads.fpn import LEVELS as POOLED_LEVELS
from mxnet_ref.heads.layout import LAYOUTS
from mxnet_ref.neck import Pyramid

LOGIT_STD = 2.0  # class scores of the RPN and of the RoIs
DELTA_STD = 0.2  # box regression of the RPN
BOX_STD = 0.5  # normalised box regression of the RoIs
PART_OFFSET_STD = 1.0  # offsets of RoI parts, before trans_std = 0.1: a tenth of the RoI
BACKGROUND_LEAD = 5.0  # of anchors, over each object class: e**5 is about 20 objects' e**(std**2 / 2)


def calibrate_two_stages(graph: Graph) -> None:
    """Scores, deltas and part offsets to sane spreads, in place, from the features on."""
    spec = graph.spec
    pyramid = spec.family == "fpn"
    if pyramid:
        graph.scale({f"fpn_{level}_1x1": 1.0 for level in POOLED_LEVELS})
        graph.scale({f"fpn_{level}": 1.0 for level in Pyramid._fields})
    else:
        graph.scale({"conv_new_1": 1.0})
    conv = "rpn_conv" if pyramid else "rpn_conv_3x3"
    for layer, std in {conv: 1.0, "rpn_cls_score": LOGIT_STD, "rpn_bbox_pred": DELTA_STD}.items():
        graph.scale_shared([f"{layer}{level}" for level in rpn_levels(spec)], layer, std)
    if pyramid:
        put_background_ahead(graph)
    settle_proposals(graph)
    layout = LAYOUTS[spec.family]
    if spec.deform_roi_pooling and pyramid:
        scale_part_offsets(graph)
    elif spec.deform_roi_pooling:
        layers = dict(layout.part_offsets)
        if spec.modulated_roi_pooling:
            for layer in ("fc_deform_1", "fc_deform_2"):
                graph.spread(layer, 1.0)
            layers = {"fc_deform_3": "fc_deform_3"}
        graph.scale(dict.fromkeys(layers, PART_OFFSET_STD), layers=layers)
    if layout.hidden:  # RoI pooling of a pyramid takes most of the time
        graph = graph.behind([graph.source_of(layout.hidden[0])])
    for layer in layout.hidden:
        graph.spread(layer, 1.0)
    graph.scale({layout.boxes_node: BOX_STD}, layers={layout.boxes_node: layout.boxes})
    graph.spread(layout.scores, LOGIT_STD, node=layout.scores_node)


def scale_part_offsets(graph: Graph) -> None:
    """Part offsets of every level of a pyramid by its own RoIs, of a level without RoIs like all others together."""
    rois, offsets = graph.read(["rois", "fpn_roi_pooling_offset"]).values()
    level_of_roi = levels_of(rois, len(POOLED_LEVELS), graph.spec.level_side)
    for index, level in enumerate(POOLED_LEVELS):
        own = offsets[level_of_roi == index]
        graph.arg[f"offset_{level}_weight"] *= np.float32(PART_OFFSET_STD / (own if len(own) else offsets).std())


def calibrate_anchors(graph: Graph) -> None:
    """A class-aware RPN's logits around 0, background ahead so that most anchors are none, and its deltas, in place."""
    spec, arg = graph.spec, graph.arg
    for layer in ("conv_new_1", "rpn_conv_3x3")[: 2 if spec.rpn_width else 1]:
        graph.scale({layer: 1.0})
    graph.scale({"rpn_cls_score": LOGIT_STD, "rpn_bbox_pred": DELTA_STD})
    scores = graph.read(["rpn_cls_score"])["rpn_cls_score"]
    mean = scores.mean(axis=(0, 2, 3))
    factor = LOGIT_STD / (scores - mean[:, None, None]).std()
    arg["rpn_cls_score_weight"] *= np.float32(factor)
    arg["rpn_cls_score_bias"][:] = factor * (arg["rpn_cls_score_bias"] - mean)
    arg["rpn_cls_score_bias"][: spec.num_anchors] += np.float32(BACKGROUND_LEAD)


def calibrate_labels(graph: Graph) -> None:
    """DeepLab's class scores to a sane spread around 0, in place.

    Raises: RuntimeError when fewer than 3 classes (or 2 of 2) win somewhere on the photograph.
    """
    graph.scale({"fc6": 1.0})
    graph.scale({"score": LOGIT_STD})
    graph.arg["score_bias"] -= graph.read(["score"])["score"].mean(axis=(0, 2, 3))
    scores = graph.read(["croped_score"])["croped_score"]
    winning = len(np.unique(label_map(scores)))
    if winning < min(3, scores.shape[1]):
        raise RuntimeError(f"calibrated_init: {winning} class wins on this image: choose another seed or image")


HEADS = {"deeplab": calibrate_labels, "class_aware_rpn": calibrate_anchors}  # by family; the others have two stages
