"""R-FCN and deformable R-FCN: every array of the original's checkpoints, and its place in PyTorch."""

from weights_convert.rules.resnet import BACKBONE
from weights_convert.rules.rpn import RPN
from weights_convert.rules.rule import Rule, convolution

RULES: tuple[Rule, ...] = (
    *BACKBONE,
    *RPN,
    *convolution("conv_new_1", "head.reduce", ("head", "stage5", 1, 1)),
    *convolution("rfcn_cls", "head.cls_maps", ("cls_maps", "head", 1, 1)),
    *convolution("rfcn_bbox", "head.bbox_maps", ("bbox_maps", "head", 1, 1), test_copy=True),
    *convolution(
        "rfcn_cls_offset_t", "head.cls_offset_maps", ("cls_offset_maps", "head", 1, 1), each="deformable_head"
    ),
    *convolution(
        "rfcn_bbox_offset_t", "head.bbox_offset_maps", ("bbox_offset_maps", "head", 1, 1), each="deformable_head"
    ),
)
