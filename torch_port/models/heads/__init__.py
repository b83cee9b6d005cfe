"""Networks on top of a backbone."""

from torch_port.models.heads.class_aware_rpn import ClassAwareRPNHead
from torch_port.models.heads.deeplab import DeepLabHead
from torch_port.models.heads.fpn import FPNHead
from torch_port.models.heads.pyramid_rpn import PyramidRPN
from torch_port.models.heads.rcnn import BoxHead, RCNNHead
from torch_port.models.heads.rfcn import RFCNHead
from torch_port.models.heads.rpn import RPNHead, RPNOutputs

__all__ = [
    "BoxHead",
    "ClassAwareRPNHead",
    "DeepLabHead",
    "FPNHead",
    "PyramidRPN",
    "RCNNHead",
    "RFCNHead",
    "RPNHead",
    "RPNOutputs",
]
