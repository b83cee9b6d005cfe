"""DeepLab and deformable DeepLab: which PyTorch module computes each node of the original's graphs."""

from weights_convert.rules.resnet_nodes import BACKBONE
from weights_convert.rules.rule import NodeRule

NODES: tuple[NodeRule, ...] = (
    *BACKBONE,
    NodeRule("fc6", "head.fc6"),
    NodeRule("relu_fc6", "head.relu"),
    NodeRule("score", "head.score"),
    NodeRule("upsampling", "head.upsampling"),
    NodeRule("croped_score", "head.crop"),
    NodeRule("softmax", "head.softmax", phase="test"),
    NodeRule("softmax", "losses.seg", phase="train"),
)
