"""Faster R-CNN and deformable Faster R-CNN: which PyTorch module computes each node of the original's graphs."""

from weights_convert.rules.resnet_nodes import BACKBONE
from weights_convert.rules.roi_nodes import RESHAPE, SAMPLING_AND_LOSSES
from weights_convert.rules.rpn_nodes import RPN
from weights_convert.rules.rule import NodeRule

BOX_HEAD: tuple[NodeRule, ...] = (  # FPN's too
    NodeRule("fc_new_1", "head.fc1"),
    NodeRule("fc_new_1_relu", "head.relu1"),
    NodeRule("fc_new_2", "head.fc2"),
    NodeRule("fc_new_2_relu", "head.relu2"),
    NodeRule("cls_score", "head.cls_score"),
    NodeRule("bbox_pred", "head.bbox_pred"),
    NodeRule("cls_prob", "head.softmax", phase="test"),
    NodeRule("cls_prob_reshape", None, why=RESHAPE),
    NodeRule("bbox_pred_reshape", None, why=RESHAPE, phase="test"),
)
NODES: tuple[NodeRule, ...] = (
    *BACKBONE,
    *RPN,
    NodeRule("conv_new_1", "head.reduce"),
    NodeRule("conv_new_1_relu", "head.relu"),
    NodeRule("roi_pool", "head.pool", each="plain_head"),
    NodeRule("offset_t", "head.offset_pool", each="deformable_head"),
    NodeRule("offset", "head.offset", each="deformable_head"),
    NodeRule("offset_reshape", None, each="deformable_head", why=RESHAPE),
    NodeRule("deformable_roi_pool", "head.pool", each="deformable_head"),
    NodeRule("roi_align", "head.pool.rest_pool", each="modulated_head"),
    NodeRule("fc_deform_1", "head.pool.fc1", each="modulated_head"),
    NodeRule("fc_deform_1_relu", "head.pool.relu1", each="modulated_head"),
    NodeRule("fc_deform_2", "head.pool.fc2", each="modulated_head"),
    NodeRule("fc_deform_2_relu", "head.pool.relu2", each="modulated_head"),
    NodeRule("fc_deform_3", "head.pool.guide", each="modulated_head"),
    NodeRule("roi_offset_t", "head.pool.offset_slice", each="modulated_head"),
    NodeRule("roi_offset", None, each="modulated_head", why=RESHAPE),
    NodeRule("roi_mask_t", "head.pool.mask_slice", each="modulated_head"),
    NodeRule("roi_mask_sigmoid", "head.pool.sigmoid", each="modulated_head"),
    NodeRule("roi_mask", None, each="modulated_head", why=RESHAPE),
    NodeRule("deform_roi_pool", "head.pool.pool", each="modulated_head"),
    NodeRule("modulated_deform_roi_pool", "head.pool.times", each="modulated_head"),
    *BOX_HEAD,
    *SAMPLING_AND_LOSSES,
)
