"""ResNet-v1 in the Caffe layout: every array of the original's checkpoints, and its place in PyTorch."""

from weights_convert.rules.rule import Drop, Rule, batch_norm, convolution, drop

BACKBONE: tuple[Rule, ...] = (
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
)

DROPS: tuple[Drop, ...] = (drop("fc1000_*", why="the ImageNet classifier, which no network here has"),)
