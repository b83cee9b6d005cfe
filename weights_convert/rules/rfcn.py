"""R-FCN and deformable R-FCN on ResNet-v1: every array of the original's checkpoints, and its place in PyTorch."""

from weights_convert.rules.rule import Rule, batch_norm, convolution, drop

RULES: tuple[Rule, ...] = (
    *convolution("conv1", "backbone.stem.conv", ("stem", "image", 7, 7), bias=False, in_backbone_file=True),
    *batch_norm("bn_conv1", "backbone.stem.bn", "stem", in_backbone_file=True),
    *convolution(
        "res{unit}_branch2{letter}",
        "backbone.stage{stage}.{i}.conv{k}",
        ("out", "in", "kernel", "kernel"),
        bias=False,
        each="convolution",
        in_backbone_file=True,
    ),
    *batch_norm(
        "bn{unit}_branch2{letter}", "backbone.stage{stage}.{i}.bn{k}", "out", each="convolution", in_backbone_file=True
    ),
    *convolution(
        "res{unit}_branch1",
        "backbone.stage{stage}.{i}.shortcut.conv",
        ("out", "in", 1, 1),
        bias=False,
        each="projection",
        in_backbone_file=True,
    ),
    *batch_norm(
        "bn{unit}_branch1", "backbone.stage{stage}.{i}.shortcut.bn", "out", each="projection", in_backbone_file=True
    ),
    *convolution(
        "res{unit}_branch2b_offset",
        "backbone.stage{stage}.{i}.offset_conv",
        ("offsets", "width", 3, 3),
        each="deformable_unit",
    ),
    *convolution("rpn_conv_3x3", "rpn.conv", ("rpn", "stage4", 3, 3)),
    *convolution("rpn_cls_score", "rpn.cls_score", ("rpn_scores", "rpn", 1, 1)),
    *convolution("rpn_bbox_pred", "rpn.bbox_pred", ("rpn_boxes", "rpn", 1, 1)),
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

DROPS = (drop("fc1000_*", why="the ImageNet classifier, which a detector does not have"),)
