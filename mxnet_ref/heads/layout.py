"""Which layers of a head on RoIs give scores and boxes: for calibration and for the `_test` copies of checkpoints."""

from dataclasses import dataclass, replace

from dcn_tasks.network import NetworkSpec


@dataclass(frozen=True)
class HeadLayout:
    """Layers by name, and the nodes whose values count where these are others.

    scores, boxes: layers of class logits and of box deltas. scores_node, boxes_node: per RoI.
    hidden: layers between the pooled features and those, in order.
    part_offsets: node of the part offsets -> layer that they come from.
    per_bin: whether scores and boxes have a channel per bin (position-sensitive maps).
    """

    scores: str
    boxes: str
    scores_node: str
    boxes_node: str
    hidden: tuple[str, ...] = ()
    part_offsets: tuple[tuple[str, str], ...] = ()
    per_bin: bool = False


LAYOUTS = {
    "rfcn": HeadLayout(
        scores="rfcn_cls",
        boxes="rfcn_bbox",
        scores_node="cls_score_reshape",
        boxes_node="ave_bbox_pred_rois",
        part_offsets=(("rfcn_cls_offset", "rfcn_cls_offset_t"), ("rfcn_bbox_offset", "rfcn_bbox_offset_t")),
        per_bin=True,
    ),
    "rcnn": HeadLayout(
        scores="cls_score",
        boxes="bbox_pred",
        scores_node="cls_score",
        boxes_node="bbox_pred",
        hidden=("fc_new_1", "fc_new_2"),
        part_offsets=(("offset", "offset"),),
    ),
}
LAYOUTS["fpn"] = replace(LAYOUTS["rcnn"], part_offsets=())  # which differ from level to level


def layout_of(spec: NetworkSpec) -> HeadLayout | None:
    """The layout of a network's head on RoIs; None for a network without one."""
    return LAYOUTS.get(spec.family)
