"""The region proposal network on one map: every array of the original's checkpoints, and its place in PyTorch."""

from weights_convert.rules.rule import Rule, convolution

RPN: tuple[Rule, ...] = (
    *convolution("rpn_conv_3x3", "rpn.conv", ("rpn", "stage4", 3, 3)),
    *convolution("rpn_cls_score", "rpn.cls_score", ("rpn_scores", "rpn", 1, 1)),
    *convolution("rpn_bbox_pred", "rpn.bbox_pred", ("rpn_boxes", "rpn", 1, 1)),
)
