"""R-FCN and deformable R-FCN: which PyTorch module computes each node of the original's graphs."""

from weights_convert.rules.resnet_nodes import BACKBONE
from weights_convert.rules.roi_nodes import RESHAPE, SAMPLING_AND_LOSSES
from weights_convert.rules.rpn_nodes import RPN
from weights_convert.rules.rule import NodeRule

NODES: tuple[NodeRule, ...] = (
    *BACKBONE,
    *RPN,
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
    *SAMPLING_AND_LOSSES,
)
