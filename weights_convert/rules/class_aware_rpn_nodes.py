"""The class-aware region proposal network: which PyTorch module computes each node of the reference's graphs."""

from weights_convert.rules.resnet_nodes import BACKBONE
from weights_convert.rules.roi_nodes import IN_LOSS, RESHAPE
from weights_convert.rules.rule import NodeRule

NODES: tuple[NodeRule, ...] = (
    *BACKBONE,
    NodeRule("conv_new_1", "rpn.reduce"),
    NodeRule("conv_new_1_relu", "rpn.reduce_relu"),
    NodeRule("rpn_conv_3x3", "rpn.conv", each="rpn_hidden"),
    NodeRule("rpn_relu", "rpn.relu", each="rpn_hidden"),
    NodeRule("rpn_cls_score", "rpn.cls_score"),
    NodeRule("rpn_bbox_pred", "rpn.bbox_pred"),
    NodeRule("rpn_cls_score_reshape", None, why=RESHAPE),
    NodeRule("rpn_cls_prob", "rpn.softmax", phase="test"),
    NodeRule("rpn_cls_prob_reshape", None, why=RESHAPE, phase="test"),
    NodeRule("candidates", "rpn.candidates", phase="test"),
    NodeRule("cls_prob_reshape", None, why=RESHAPE, phase="test"),
    NodeRule("bbox_pred_reshape", None, why=RESHAPE, phase="test"),
    NodeRule("rpn_cls_prob", "losses.rpn_cls", phase="train"),
    NodeRule("rpn_bbox_loss", "losses.rpn_bbox", phase="train"),
    NodeRule("_minus0", None, phase="train", why=IN_LOSS.format("losses.rpn_bbox")),
    NodeRule("rpn_bbox_loss_", None, phase="train", why=IN_LOSS.format("losses.rpn_bbox")),
    NodeRule("_mul0", None, phase="train", why=IN_LOSS.format("losses.rpn_bbox")),
)
