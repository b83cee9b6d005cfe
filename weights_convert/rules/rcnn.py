"""Faster R-CNN and deformable Faster R-CNN: every array of the original's checkpoints, and its place in PyTorch."""

from weights_convert.rules.resnet import BACKBONE
from weights_convert.rules.rpn import RPN
from weights_convert.rules.rule import Rule, convolution, fully_connected

BOX_HEAD: tuple[Rule, ...] = (  # FPN's too
    *fully_connected("fc_new_1", "head.fc1", ("fc", "pooled")),
    *fully_connected("fc_new_2", "head.fc2", ("fc", "fc")),
    *fully_connected("cls_score", "head.cls_score", ("classes", "fc")),
    *fully_connected("bbox_pred", "head.bbox_pred", ("boxes", "fc"), test_copy=True),
)
RULES: tuple[Rule, ...] = (
    *BACKBONE,
    *RPN,
    *convolution("conv_new_1", "head.reduce", ("head", "stage5", 1, 1)),
    *fully_connected("offset", "head.offset", ("bbox_offset_maps", "pooled"), each="deformable_head"),
    *fully_connected("fc_deform_1", "head.pool.fc1", ("fc", "pooled"), each="modulated_head"),
    *fully_connected("fc_deform_2", "head.pool.fc2", ("fc", "fc"), each="modulated_head"),
    *fully_connected("fc_deform_3", "head.pool.guide", ("guides", "fc"), each="modulated_head"),
    *BOX_HEAD,
)
