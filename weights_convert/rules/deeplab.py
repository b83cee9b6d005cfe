"""DeepLab and deformable DeepLab: every array of the original's checkpoints, and its place in PyTorch."""

from weights_convert.rules.resnet import BACKBONE
from weights_convert.rules.rule import Rule, convolution

RULES: tuple[Rule, ...] = (
    *BACKBONE,
    *convolution("fc6", "head.fc6", ("head", "stage5", 1, 1)),
    *convolution("score", "head.score", ("classes", "head", 1, 1)),
    *convolution("upsampling", "head.upsampling", ("classes", 1, "upsampling", "upsampling"), bias=False),
)
