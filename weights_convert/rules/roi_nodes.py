"""What is trained around every head on RoIs: which PyTorch module computes each node of the original's graphs."""

from weights_convert.rules.rule import NodeRule

RESHAPE = "moves no value: PyTorch's module gives, or takes, the shape it needs"
IN_LOSS = "a step inside the loss term {0}, which is one module in PyTorch"

SAMPLING_AND_LOSSES: tuple[NodeRule, ...] = (  # the loss terms return MXNet's output beside their scalar
    NodeRule("rpn_cls_prob", "losses.rpn_cls", phase="train"),
    NodeRule("rpn_bbox_loss", "losses.rpn_bbox", phase="train"),
    NodeRule("cls_prob", "losses.cls", phase="train"),
    NodeRule("bbox_loss", "losses.bbox", phase="train"),
    NodeRule("custom0", "proposal_target", phase="train"),
    NodeRule("custom1", "hard_rois", each="hard_example_mining", phase="train"),
    NodeRule("_minus0", None, phase="train", why=IN_LOSS.format("losses.rpn_bbox")),
    NodeRule("rpn_bbox_loss_", None, phase="train", why=IN_LOSS.format("losses.rpn_bbox")),
    NodeRule("_mul0", None, phase="train", why=IN_LOSS.format("losses.rpn_bbox")),
    NodeRule("_minus1", None, phase="train", why=IN_LOSS.format("losses.bbox")),
    NodeRule("bbox_loss_", None, phase="train", why=IN_LOSS.format("losses.bbox")),
    NodeRule("_mul1", None, phase="train", why=IN_LOSS.format("losses.bbox")),
    NodeRule("gt_boxes_reshape", None, phase="train", why=RESHAPE),
    NodeRule("label_reshape", None, phase="train", why=RESHAPE),
    NodeRule("bbox_loss_reshape", None, phase="train", why=RESHAPE),
    NodeRule("blockgrad0", None, phase="train", why="keeps gradients from the labels; PyTorch's labels carry none"),
)
