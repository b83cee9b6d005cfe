"""Faster R-CNN: pooled features, two fully connected layers."""

from torch_port.models.two_stage import TwoStage


class FasterRCNN(TwoStage):
    """Faster R-CNN or deformable Faster R-CNN (Ren et al. 2015; Dai et al. 2017); head: torch_port.models.heads.RCNNHead."""
