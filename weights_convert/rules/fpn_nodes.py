"""FPN and deformable FPN: which PyTorch module computes each node of the original's graphs."""

from weights_convert.rules.rcnn_nodes import BOX_HEAD
from weights_convert.rules.resnet_nodes import BACKBONE
from weights_convert.rules.roi_nodes import IN_LOSS, RESHAPE, SAMPLING_AND_LOSSES
from weights_convert.rules.rule import NodeRule

NODES: tuple[NodeRule, ...] = (
    *BACKBONE,
    NodeRule("fpn_{level}_1x1", "neck.lateral.{level}", each="pooled_level"),
    NodeRule("fpn_{level}_upsample", "neck.upsample.{level}", each="upper_level"),
    NodeRule("fpn_{level}_sum", "neck.sum.{level}", each="lower_level"),
    NodeRule("fpn_{level}", "neck.output.{level}", each="level"),
    NodeRule("rpn_conv_{level}", "rpn.conv.{level}", each="level"),
    NodeRule("rpn_relu_{level}", "rpn.relu.{level}", each="level"),
    NodeRule("rpn_cls_score_{level}", "rpn.cls_score.{level}", each="level"),
    NodeRule("rpn_bbox_pred_{level}", "rpn.bbox_pred.{level}", each="level"),
    NodeRule("rpn_cls_prob_{level}", "rpn.softmax.{level}", each="level"),
    NodeRule("rpn_cls_score_t1_{level}", None, each="level", why=RESHAPE),
    NodeRule("rpn_cls_score_t2_{level}", None, each="level", why=RESHAPE, phase="train"),
    NodeRule("rpn_cls_prob_t_{level}", None, each="level", why=RESHAPE),
    NodeRule("rpn_bbox_pred_t_{level}", None, each="level", why=RESHAPE, phase="train"),
    NodeRule("concat0", "rpn.cls_concat", phase="train"),
    NodeRule("concat1", "rpn.bbox_concat", phase="train"),
    NodeRule("rois", "rpn.proposal"),
    NodeRule("fpn_roi_pooling", "head.roi_pool"),
    *BOX_HEAD,
    NodeRule("rpn_bbox_loss_l1", None, phase="train", why=IN_LOSS.format("losses.rpn_bbox")),
    *(rule for rule in SAMPLING_AND_LOSSES if rule.node != "rpn_bbox_loss_"),
)
