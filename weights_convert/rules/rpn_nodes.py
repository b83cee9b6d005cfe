"""The region proposal network on one map: which PyTorch module computes each node of the original's graphs."""

from weights_convert.rules.roi_nodes import RESHAPE
from weights_convert.rules.rule import NodeRule

RPN: tuple[NodeRule, ...] = (
    NodeRule("rpn_conv_3x3", "rpn.conv"),
    NodeRule("rpn_relu", "rpn.relu"),
    NodeRule("rpn_cls_score", "rpn.cls_score"),
    NodeRule("rpn_bbox_pred", "rpn.bbox_pred"),
    NodeRule("rpn_cls_score_reshape", None, why=RESHAPE),
    NodeRule("rpn_cls_prob", "rpn.softmax", phase="test"),
    NodeRule("rpn_cls_prob_reshape", None, why=RESHAPE, phase="test"),
    NodeRule("rpn_cls_act", "rpn.softmax", phase="train"),
    NodeRule("rpn_cls_act_reshape", None, why=RESHAPE, phase="train"),
    NodeRule("rois", "rpn.proposal"),
)
