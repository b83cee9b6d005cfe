"""The class-aware region proposal network: every array of a checkpoint, and its place in PyTorch."""

from weights_convert.rules.resnet import BACKBONE
from weights_convert.rules.rule import Rule, convolution

RULES: tuple[Rule, ...] = (
    *BACKBONE,
    *convolution("conv_new_1", "rpn.reduce", ("head", "stage5", 1, 1)),
    *convolution("rpn_conv_3x3", "rpn.conv", ("rpn", "head", 3, 3), each="rpn_hidden"),
    *convolution("rpn_cls_score", "rpn.cls_score", ("rpn_classes", "rpn_in", 1, 1)),
    *convolution("rpn_bbox_pred", "rpn.bbox_pred", ("rpn_boxes", "rpn_in", 1, 1)),
)
