"""Whole networks."""

from torch_port.models.build import Network, Outputs, build_network
from torch_port.models.class_aware_rpn import ClassAwareRPN, ClassAwareRPNOutputs
from torch_port.models.deeplab import DeepLab, SegmentationOutputs
from torch_port.models.detect import Detector
from torch_port.models.fold import fold_batch_norm
from torch_port.models.fpn import FPN
from torch_port.models.rcnn import FasterRCNN
from torch_port.models.replay import ReplayReport, recording, replaying
from torch_port.models.rfcn import RFCN
from torch_port.models.segment import Segmentation, Segmenter
from torch_port.models.two_stage import TrainingOutputs, TwoStage

__all__ = [
    "FPN",
    "RFCN",
    "ClassAwareRPN",
    "ClassAwareRPNOutputs",
    "DeepLab",
    "Detector",
    "FasterRCNN",
    "Network",
    "Outputs",
    "ReplayReport",
    "Segmentation",
    "SegmentationOutputs",
    "Segmenter",
    "TrainingOutputs",
    "TwoStage",
    "build_network",
    "fold_batch_norm",
    "recording",
    "replaying",
]
