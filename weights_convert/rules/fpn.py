"""FPN and deformable FPN: every array of the original's checkpoints, and its place in PyTorch."""

from weights_convert.rules.rcnn import BOX_HEAD
from weights_convert.rules.resnet import BACKBONE
from weights_convert.rules.rule import Rule, convolution, fully_connected

RULES: tuple[Rule, ...] = (
    *BACKBONE,
    *convolution("fpn_{level}_1x1", "neck.lateral.{level}", ("head", "stage", 1, 1), each="pooled_level"),
    *convolution("fpn_{level}", "neck.output.{level}", ("head", "source", 3, 3), each="level"),
    *convolution("rpn_conv", "rpn.conv", ("rpn", "head", 3, 3)),
    *convolution("rpn_cls_score", "rpn.cls_score", ("rpn_scores", "rpn", 1, 1)),
    *convolution("rpn_bbox_pred", "rpn.bbox_pred", ("rpn_boxes", "rpn", 1, 1)),
    *fully_connected(
        "offset_{level}", "head.roi_pool.{level}.offset", ("bbox_offset_maps", "pooled"), each="deformable_level"
    ),
    *BOX_HEAD,
)
