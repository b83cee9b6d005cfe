"""R-FCN and deformable R-FCN: which PyTorch module computes each node of the original's graphs."""

from weights_convert.rules.resnet_nodes import BACKBONE
from weights_convert.rules.rule import NodeRule

RESHAPE = "moves no value: PyTorch's module gives, or takes, the shape it needs"
IN_LOSS = "a step inside the loss term {0}, which is one module in PyTorch"

NODES: tuple[NodeRule, ...] = (
    *BACKBONE,
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
    NodeRule("conv_new_1", "head.reduce"),
    NodeRule("relu1", "head.relu"),
    NodeRule("rfcn_cls", "head.cls_maps"),
    NodeRule("rfcn_bbox", "head.bbox_maps"),
    NodeRule("rfcn_cls_offset_t", "head.cls_offset_maps", each="deformable_head"),
    NodeRule("rfcn_bbox_offset_t", "head.bbox_offset_maps", each="deformable_head"),
    NodeRule("rfcn_cls_offset", "head.cls_offset_pool", each="deformable_head"),
    NodeRule("rfcn_bbox_offset", "head.bbox_offset_pool", each="deformable_head"),
    NodeRule("psroipooled_cls_rois", "head.cls_pool"),
    NodeRule("psroipooled_loc_rois", "head.bbox_pool"),
    NodeRule("ave_cls_scors_rois", "head.cls_average"),
    NodeRule("ave_bbox_pred_rois", "head.bbox_average"),
    NodeRule("cls_score_reshape", None, why=RESHAPE),
    NodeRule("bbox_pred_reshape", None, why=RESHAPE),
    NodeRule("cls_prob", "head.softmax", phase="test"),
    NodeRule("cls_prob_reshape", None, why=RESHAPE),
    # training only: samples, targets and losses; the loss terms return MXNet's output beside their scalar
    NodeRule("rpn_cls_prob", "losses.rpn_cls", phase="train"),
    NodeRule("rpn_bbox_loss", "losses.rpn_bbox", phase="train"),
    NodeRule("cls_prob", "losses.cls", phase="train"),
    NodeRule("bbox_loss", "losses.bbox", phase="train"),
    NodeRule("custom0", "proposal_target", phase="train"),
    NodeRule("custom1", "hard_rois", each="hard_example_mining", phase="train"),
    NodeRule("_minus0", None, phase="train", why=IN_LOSS.format("losses.rpn_bbox")),
    NodeRule("rpn_bbox_loss_", None, phase="train", why=IN_LOSS.format("losses.rpn_bbox")),
    NodeRule("_mul0", None, phase="train", why=IN_LOSS.format("losses.rpn_bbox")),
    NodeRule("_minus1", None, phase="train", why=IN_LOSS.format("losses.bbox")),
    NodeRule("bbox_loss_", None, phase="train", why=IN_LOSS.format("losses.bbox")),
    NodeRule("_mul1", None, phase="train", why=IN_LOSS.format("losses.bbox")),
    NodeRule("gt_boxes_reshape", None, phase="train", why=RESHAPE),
    NodeRule("label_reshape", None, phase="train", why=RESHAPE),
    NodeRule("bbox_loss_reshape", None, phase="train", why=RESHAPE),
    NodeRule("blockgrad0", None, phase="train", why="keeps gradients from the labels; PyTorch's labels carry none"),
)
