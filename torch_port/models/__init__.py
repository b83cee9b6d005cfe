"""Whole networks."""

from torch_port.models.build import build_network
from torch_port.models.detect import Detector
from torch_port.models.fold import fold_batch_norm
from torch_port.models.replay import ReplayReport, recording, replaying
from torch_port.models.rfcn import RFCN, TrainingOutputs

__all__ = [
    "RFCN",
    "Detector",
    "ReplayReport",
    "TrainingOutputs",
    "build_network",
    "fold_batch_norm",
    "recording",
    "replaying",
]
